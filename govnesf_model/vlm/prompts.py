"""Prompt templates: a text is encoded in several sentences and the features are averaged.

CLIP was trained on captions; Radford et al. (Learning Transferable Visual Models From Natural
Language Supervision, 2021, 3.1.4) show that sentences around a word, averaged, beat the bare word.
"""

import re

TEMPLATES = {
    "none": ("{}",),
    "photo": ("a photo of a {}.",),
    "small": (
        "a photo of a {}.",
        "a photo of the {}.",
        "a bad photo of the {}.",
        "a photo of a small {}.",
        "a photo of a large {}.",
        "a close-up photo of a {}.",
        "a {} in a room.",
        "there is a {} in the scene.",
    ),
}

_ARTICLE = re.compile(r"(?:an?|the)\s+(?=\S)", re.IGNORECASE)


def template_names() -> tuple[str, ...]:
    """Return the names that `templates` knows."""
    return (*TEMPLATES, "imagenet")


def templates(name: str) -> tuple[str, ...]:
    """Return templates, "{}" where the text goes.

    "imagenet" are the 80 of the CLIP paper, as open_clip holds them.

    Raises:
        ValueError: no such name.
    """
    if name == "imagenet":
        import govnesf_model.torchvision_guard  # noqa: F401

        # isort: split
        from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

        return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)
    if name not in TEMPLATES:
        raise ValueError(f"there are no templates {name!r}: choose {', '.join(template_names())}")
    return TEMPLATES[name]


def prompts(text: str, chosen: tuple[str, ...]) -> list[str]:
    """Put a text into templates; its article goes where the template brings one."""
    bare = _ARTICLE.sub("", text, count=1) if _ARTICLE.match(text) else text
    return [text if template == "{}" else template.replace("{}", bare, 1) for template in chosen]
