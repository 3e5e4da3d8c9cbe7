"""Furnish a room: walls with doors and windows, furniture, things on it, lights.

    room = build_room(seed=3, split="train", library=Catalogues.find())

The room spans [0, width] x [0, depth] x [0, height] with its floor at z = 0. Furniture faces away
from its wall. Everything is drawn from one generator, so that a seed is a room.
"""

from govnesf_model.data.synthetic.assets import Catalogues
from govnesf_model.data.synthetic.furniture import add, add_seats
from govnesf_model.data.synthetic.hangings import add_ceiling_lamps, add_hangings
from govnesf_model.data.synthetic.names import object_classes
from govnesf_model.data.synthetic.openings import add_openings
from govnesf_model.data.synthetic.photos import Photos
from govnesf_model.data.synthetic.plan import Plan
from govnesf_model.data.synthetic.room import Room, shuffled
from govnesf_model.data.synthetic.shell import add_lights, build_shell
from govnesf_model.data.synthetic.tops import fill_surfaces

THEMES = {
    "living": "sofa sofa armchair coffee_table television shelves bookcase cabinet floor_lamp "
    "potted_plant table chair pouf fireplace piano aquarium radiator trash_can",
    "bedroom": "bed bedside_table wardrobe chest_of_drawers dressing_table armchair desk "
    "office_chair potted_plant clothes_basket crib radiator floor_lamp cabinet shoes",
    "office": "desk desk office_chair bookcase shelves filing_cabinet cabinet whiteboard table "
    "trash_can water_cooler potted_plant locker printer radiator",
    "kitchen": "table chair kitchen_cabinet kitchen_cabinet kitchen_sink refrigerator oven "
    "wall_cabinet range_hood stool trash_can shelves chest_freezer washing_machine radiator",
    "bathroom": "bathtub toilet bidet washbasin bathroom_vanity shower washing_machine "
    "clothes_basket towel_rack radiator toilet_brush trash_can shelves cabinet stool",
    "mixed": "table chair cabinet shelves desk sofa bed armchair stool coffee_table potted_plant "
    "cardboard_box bicycle bench crate step_ladder",
}


def build_room(
    seed: int,
    split: str,
    library: Catalogues | None,
    wishes: tuple[tuple[str, str | None, str | None], ...] = (),
    size: tuple[float, float, float] | None = None,
    theme: str | None = None,
    photos: Photos | None = None,
) -> Room:
    """Return the room of a seed.

    Args:
        seed: every choice follows from it, the split and the library.
        split: whose assets may be used: train, val, test or demo.
        library: the catalogues, or None for parametric things alone.
        wishes: (class, colour, asset) that have to be there, colour and asset may be None; placed
            first.
        size: width, depth, height in metres; drawn where None.
        theme: a key of THEMES; drawn where None.
        photos: photographed surfaces, or None for painted ones alone.
    """
    plan = Plan(seed, split, library, photos)
    rng = plan.rng
    size = size or (rng.uniform(3, 7), rng.uniform(3, 6), rng.uniform(2.4, 3.0))
    names = list(THEMES)
    theme = theme or names[rng.choice(len(names), p=[0.24, 0.18, 0.18, 0.18, 0.07, 0.15])]
    room = plan.room = Room(*size, theme=theme)
    add_openings(plan)
    for name, color, asset in wishes:
        place = plan.place_of(name)
        if place != "top":
            for _ in range(6):
                if add(plan, name, place, color, asset):
                    break
    themed = [n.replace("_", " ") for n in THEMES[room.theme].split()]
    area = room.width * room.depth
    for name in shuffled(rng, themed)[: int(rng.integers(5, 9) + area / 5)]:
        add(plan, name, plan.place_of(name))
    others = [
        c.name
        for c in object_classes().values()
        if c.place in ("wall", "free", "floor", "seat", "table")
    ]
    for name in shuffled(rng, others)[: int(rng.integers(4, 9))]:
        add(plan, name, plan.place_of(name))
    add_seats(plan)
    for name in ["carpet"] * int(rng.choice([0, 1, 1, 2])):
        add(plan, name, "rug")
    add_hangings(plan)
    add_ceiling_lamps(plan)
    fill_surfaces(plan, [(n, c, a) for n, c, a in wishes if plan.place_of(n) == "top"])
    build_shell(plan)
    add_lights(plan)
    return room
