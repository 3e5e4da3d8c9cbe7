"""The panel beside the scene: everything that a user reads, types and presses.

    page = Page(server, actions, mapper="/govnesf")
    page.show_status(status, age=0.2)
    page.show_found(found)

One panel for all browsers: what one person asks, all see. The page knows no ROS; what is pressed
goes to `actions`, what is shown comes through the methods, from any thread.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import viser

from govnesf_model.palette import label_colors
from govnesf_ros import viewer_html as html
from govnesf_ros.viewer_state import Found, hint, split_message, split_words

ROWS = 12  # results that are listed; all are drawn
HISTORY = 20
ASK_PLACE, WORDS_PLACE, MAP_PLACE = "ask", "words", "map"  # where `say` puts its sentence

# What a user picks, and the mode of viewer_cloud.colors_of.
COLOURS = {
    "as the camera saw it": "photo",
    "what was asked for": "relevancy",
    "words of the vocabulary": "words",
    "confidence of the words": "confidence",
}
_COLOUR_OF_MODE = {mode: name for name, mode in COLOURS.items()}
_NO_HISTORY = "-"
_PANEL_WIDTH = 400
_PICTURE_WIDTH = 290
_CEILING = 4.0  # metres, upper end of the slider: nothing is hidden


class Actions(Protocol):
    """What the page can ask for; none of them waits, and none raises."""

    def ask(self, texts: list[str], contrast: list[str]) -> None: ...

    def end_query(self) -> None: ...

    def set_vocabulary(self, texts: list[str]) -> None: ...

    def set_mode(self, mode: str) -> None: ...

    def save_map(self, name: str) -> None: ...

    def load_map(self, name: str) -> None: ...

    def reset(self) -> None: ...

    def pause(self, paused: bool) -> None: ...

    def fly_to(self, client: Any, found: Found) -> None: ...

    def whole_map(self, client: Any) -> None: ...

    def set_look(
        self, *, point_scale: float | None = None, ceiling: float | None = None
    ) -> None: ...

    def set_cameras_visible(self, visible: bool) -> None: ...

    def highlighted(self) -> tuple[str, bytes] | None: ...


class Page:
    """The panel; see the module.

    Args:
        server: viser's.
        actions: told of what the user wants.
        mapper: full name of the mapper, for messages.
    """

    def __init__(self, server: Any, actions: Actions, mapper: str) -> None:
        self._server = server
        self._gui = server.gui
        self._actions = actions
        self._mapper = mapper
        self._lock = threading.RLock()
        self._found: list[Found] = []
        self._history: dict[str, tuple[list[str], list[str]]] = {}
        self._paused = False
        self._notes: dict[str, Any] = {}
        self._gui.configure_theme(
            dark_mode=True, show_logo=False, show_share_button=False, brand_color=(75, 159, 234)
        )
        self._gui.main_panel.dock_right()
        self._gui.main_panel.set_width(_PANEL_WIDTH)
        self._gui.add_html(html.STYLE)
        self._status = self._gui.add_html(html.status_line(None, None))
        self._hint = self._gui.add_html("")
        self._build_colours()
        tabs = self._gui.add_tab_group()
        with tabs.add_tab("Ask", viser.Icon.SEARCH):
            self._build_ask()
        with tabs.add_tab("Words", viser.Icon.TAGS):
            self._build_words()
        with tabs.add_tab("View", viser.Icon.EYE):
            self._build_view()
        with tabs.add_tab("Map", viser.Icon.MAP_2):
            self._build_map()
        self._picture: Any | None = None

    def show_status(self, status: Any | None, age: float | None) -> None:
        """Show what the mapper does, and what is wrong with it; `age` in seconds."""
        with self._lock:
            kind, sentence = hint(status, age, self._mapper)
            _set(self._status, "content", html.status_line(status, age))
            _set(self._hint, "content", html.note(kind, sentence))
            _set(self._statistics, "content", html.status_table(status))
            if status is not None and (status.state == "paused") != self._paused:
                self._paused = status.state == "paused"
                self._pause.label = "Go on" if self._paused else "Pause"

    def say(self, place: str, kind: str, message: str) -> None:
        """Show a message of the mapper, or ours, at ask, words or map until the next one."""
        sentences, warnings = split_message(message)
        content = html.note(kind, *sentences) + html.note("warn", *warnings)
        with self._lock:
            _set(self._notes[place], "content", content)

    def show_mode(self, mode: str, texts: Sequence[str]) -> None:
        """Show which colours are in force and what they mean."""
        with self._lock:
            self._colours.value = _COLOUR_OF_MODE[mode]
            _set(self._legend, "content", html.legend(mode, texts))

    def show_found(self, found: Sequence[Found], texts: Sequence[str]) -> None:
        """List the boxes of an answer, best first; `texts` are those of the active query."""
        with self._lock:
            self._found = list(found[:ROWS])
            colors = label_colors(max([one.number for one in found], default=0))
            for index, (card, button) in enumerate(self._rows):
                visible = index < len(self._found)
                if visible:
                    one = self._found[index]
                    _set(card, "content", html.found_card(one, colors[one.number]))
                _set(card, "visible", visible)
                _set(button, "visible", visible)
            rest = len(found) - len(self._found)
            _set(
                self._more,
                "content",
                html.soft(f"and {rest} more boxes in the scene" if rest > 0 else ""),
            )
            _set(self._download, "visible", bool(texts))
            _set(self._stop, "visible", bool(texts))

    def show_words(self, texts: Sequence[str]) -> None:
        """Show the vocabulary in force, unless somebody is editing it."""
        with self._lock:
            if split_words(self._words.value) == self._words_shown:
                self._words.value = "\n".join(texts)
            self._words_shown = list(texts)

    def show_picture(self, rgb: np.ndarray) -> None:
        """Show an image, uint8 [H, W, 3], in the window at the lower left."""
        with self._lock:
            if self._picture is None:
                window = self._gui.add_panel()
                with window.add_tab("Camera", viser.Icon.CAMERA):
                    self._picture = self._gui.add_image(rgb, format="jpeg", jpeg_quality=80)
                window.float(x=16, y=-16, width=_PICTURE_WIDTH)
            else:
                self._picture.image = rgb

    def remember(self, texts: Sequence[str], contrast: Sequence[str]) -> None:
        """Put a query on top of the history, once."""
        name = ", ".join(texts) + (f"  (not: {', '.join(contrast)})" if contrast else "")
        name = html.shortened(name)
        with self._lock:
            self._history.pop(name, None)
            self._history = {name: (list(texts), list(contrast)), **self._history}
            self._history = dict(list(self._history.items())[:HISTORY])
            self._earlier.options = (_NO_HISTORY, *self._history)
            self._earlier.visible = True

    def _build_colours(self) -> None:
        self._colours = self._gui.add_dropdown("Colours", tuple(COLOURS))
        self._legend = self._gui.add_html("")
        self._colours.on_update(
            _by_user(lambda event: self._actions.set_mode(COLOURS[self._colours.value]))
        )

    def _build_ask(self) -> None:
        gui = self._gui
        form = gui.add_form(None)
        with form:
            self._texts = gui.add_text(
                "Find", "", hint="What to look for. Several things: separate them by commas."
            )
            self._contrast = gui.add_text(
                "But not",
                "",
                hint="Contrast words: what might be taken for it. Empty: the encoder's own list.",
            )
            ask = gui.add_button("Ask", icon=viser.Icon.SEARCH)
        form.on_submit(lambda _: self._ask())
        ask.on_click(lambda _: self._ask())
        self._earlier = gui.add_dropdown("Earlier", (_NO_HISTORY,), visible=False)
        self._earlier.on_update(_by_user(lambda event: self._ask_again()))
        self._stop = gui.add_button("Stop asking", icon=viser.Icon.X, color="dark", visible=False)
        self._stop.on_click(lambda _: self._actions.end_query())
        self._add_note(ASK_PLACE)
        self._rows = []
        for index in range(ROWS):
            card = gui.add_html("", visible=False)
            button = gui.add_button("Fly to", color="dark", visible=False)
            button.on_click(lambda event, index=index: self._fly(event.client, index))
            self._rows.append((card, button))
        self._more = gui.add_html("")
        self._download = gui.add_button(
            "Download the found points (PLY)",
            icon=viser.Icon.DOWNLOAD,
            color="dark",
            visible=False,
        )
        self._download.on_click(lambda event: self._send_file(event.client))

    def _build_words(self) -> None:
        gui = self._gui
        gui.add_html(html.soft("The words that every point of the map is labelled with."))
        self._words_shown: list[str] = []
        self._words = gui.add_text(
            "Words", "", multiline=True, hint="One a line, or separated by commas."
        )
        apply = gui.add_button("Label the map with these", icon=viser.Icon.TAGS)
        apply.on_click(lambda _: self._actions.set_vocabulary(split_words(self._words.value)))
        back = gui.add_button("Back to the default words", color="dark")
        back.on_click(lambda _: self._default_words())
        self._add_note(WORDS_PLACE)

    def _build_view(self) -> None:
        gui, actions = self._gui, self._actions
        whole = gui.add_button("Show the whole map", icon=viser.Icon.FOCUS_2)
        whole.on_click(lambda event: actions.whole_map(event.client))
        size = gui.add_slider("Point size", 0.2, 3.0, 0.1, 1.0, hint="1: what closes surfaces.")
        size.on_update(_by_user(lambda _: actions.set_look(point_scale=size.value)))
        ceiling = gui.add_slider(
            "Hide above", 0.5, _CEILING, 0.1, _CEILING,
            hint="Metres: takes the ceiling off. At the right end nothing is hidden.",
        )  # fmt: skip
        ceiling.on_update(
            _by_user(
                lambda _: actions.set_look(
                    ceiling=ceiling.value if ceiling.value < _CEILING else np.inf
                )
            )
        )
        cameras = gui.add_checkbox("Cameras", True, hint="Where the map's keyframes were taken.")
        cameras.on_update(_by_user(lambda _: actions.set_cameras_visible(cameras.value)))
        gui.add_html(
            html.soft(
                "Drag turns, right drag moves, the wheel zooms; W A S D and Q E fly. A browser "
                "without a graphics card is quicker with fewer points: parameter max_points."
            )
        )

    def _build_map(self) -> None:
        gui, actions = self._gui, self._actions
        self._name = gui.add_text("Name", "map", hint="A folder in the mapper's maps_dir.")
        save = gui.add_button("Save", icon=viser.Icon.DEVICE_FLOPPY)
        save.on_click(lambda _: actions.save_map(self._name.value.strip()))
        load = gui.add_button("Load", icon=viser.Icon.FOLDER_OPEN, color="dark")
        load.on_click(lambda _: actions.load_map(self._name.value.strip()))
        self._pause = gui.add_button("Pause", icon=viser.Icon.PLAYER_PAUSE, color="dark")
        self._pause.on_click(lambda _: actions.pause(not self._paused))
        reset = gui.add_button("Forget the map", icon=viser.Icon.TRASH, color="dark")
        reset.on_click(lambda event: self._confirm_reset(event.client))
        self._add_note(MAP_PLACE)
        self._statistics = gui.add_html("")

    def _add_note(self, place: str) -> None:
        self._notes[place] = self._gui.add_html("")

    def _ask(self) -> None:
        texts = split_words(self._texts.value)
        if not texts:
            self.say(ASK_PLACE, "info", "Type what to look for, for instance: table, red mug.")
            return
        self._actions.ask(texts, split_words(self._contrast.value))

    def _ask_again(self) -> None:
        if self._earlier.value not in self._history:
            return
        texts, contrast = self._history[self._earlier.value]
        self._texts.value, self._contrast.value = ", ".join(texts), ", ".join(contrast)
        self._actions.ask(texts, contrast)

    def _fly(self, client: Any | None, index: int) -> None:
        with self._lock:
            found = self._found[index] if index < len(self._found) else None
        if client is not None and found is not None:
            self._actions.fly_to(client, found)

    def _send_file(self, client: Any | None) -> None:
        made = self._actions.highlighted()
        if made is None:
            self.say(ASK_PLACE, "info", "No point of the map is highlighted: nothing to download.")
        elif client is not None:
            client.send_file_download(*made, save_immediately=True)

    def _default_words(self) -> None:
        # Whatever stands in the box is to be replaced by what the mapper answers.
        with self._lock:
            self._words_shown = split_words(self._words.value)
        self._actions.set_vocabulary([])

    def _confirm_reset(self, client: Any | None) -> None:
        if client is None:
            return
        modal = client.gui.add_modal("Forget the map?")
        with modal:
            client.gui.add_html(
                html.soft("Points and keyframes are lost unless they were saved. Words stay.")
            )
            yes = client.gui.add_button("Forget it", color="red", icon=viser.Icon.TRASH)
            no = client.gui.add_button("Keep it", color="dark")

        def forget(_: Any) -> None:
            modal.close()
            self._actions.reset()

        yes.on_click(forget)
        no.on_click(lambda _: modal.close())


def _set(handle: Any, name: str, value: Any) -> None:
    """Set a property, if it differs: whatever is set travels to every browser."""
    if getattr(handle, name) != value:
        setattr(handle, name, value)


def _by_user(function: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a callback that leaves out changes which the program made itself."""

    def called(event: Any) -> None:
        if event.client_id is not None:
            function(event)

    return called
