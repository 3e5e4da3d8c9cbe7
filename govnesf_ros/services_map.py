"""The map as a whole: reset, pause, save_map, load_map."""

import unicodedata
from pathlib import Path

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from std_srvs.srv import SetBool, Trigger

from govnesf_model.map_files import load_map, save_map
from govnesf_ros import topics
from govnesf_ros.parameters import MapperSettings
from govnesf_ros.service_group import Access, Refusal, ServiceGroup, refuse_broken_text
from govnesf_ros.srv import MapFile

BUSY_TIMEOUT = 30.0  # seconds that a reset or a load waits for the keyframe in work
_LONGEST_PATH = 1024  # characters


class MapServices(ServiceGroup):
    """One after the other, but saving and loading do not keep pause and reset waiting."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        control = MutuallyExclusiveCallbackGroup()
        files = MutuallyExclusiveCallbackGroup()
        self.offer(Trigger, topics.RESET, self._reset, control)
        self.offer(SetBool, topics.PAUSE, self._pause, control)
        self.offer(MapFile, topics.SAVE_MAP, self._save, files)
        self.offer(MapFile, topics.LOAD_MAP, self._load, files)

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> None:
        access = self.access
        try:
            access.exclusively(access.scene_map.reset, BUSY_TIMEOUT)
        except TimeoutError as error:
            raise Refusal(f"the map was not reset: {error}") from error
        access.forget_counts()
        access.answers.forget()
        access.refresh(None)
        response.message = "the map is empty; the vocabulary and the active query stay"

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> None:
        self.access.mapper.pause(request.data)
        response.message = (
            "mapping is paused; queries are answered from the map as it is"
            if request.data
            else "mapping goes on"
        )

    def _save(self, request: MapFile.Request, response: MapFile.Response) -> None:
        settings = self.access.node.settings
        folder = map_folder(request.path, settings)
        # On this thread: the map goes on while its parts, which never change, are written.
        info = save_map(self.access.scene_map, folder, {"map_frame": settings.map_frame})
        response.message = (
            f"saved {info.points} points and {info.keyframes} keyframes to {info.path} "
            f"({info.mebibytes:.0f} MiB)"
        )

    def _load(self, request: MapFile.Request, response: MapFile.Response) -> None:
        access, settings = self.access, self.access.node.settings
        folder = map_folder(request.path, settings)
        try:
            info = access.exclusively(lambda: load_map(access.scene_map, folder), BUSY_TIMEOUT)
        except TimeoutError as error:
            raise Refusal(f"the map was not loaded: {error}") from error
        access.answers.forget()
        access.refresh(None)
        response.message = (
            f"loaded {info.points} points and {info.keyframes} keyframes from {info.path}, saved "
            f"{info.created}"
        )
        frame = info.notes.get("map_frame", settings.map_frame)
        if frame != settings.map_frame:
            response.message += (
                f"; they were saved in the frame '{frame}' and are taken for "
                f"'{settings.map_frame}' now: make sure that both have the same origin"
            )


def map_folder(path: str, settings: MapperSettings) -> Path:
    """Return the folder of a map that a request names.

    Raises:
        Refusal: the name cannot be used or leads out of the parameter maps_dir.
    """
    refuse_broken_text([path], "path")
    if not path.strip() or len(path) > _LONGEST_PATH:
        raise Refusal(f"the path has {len(path)} characters: give the map a name, e.g. 'kitchen'")
    if any(unicodedata.category(letter) == "Cc" for letter in path):
        raise Refusal(f"the path holds control characters: {path[:60]!a}")
    home = Path(settings.maps_dir).expanduser().resolve()
    if settings.maps_anywhere:
        return (home / Path(path).expanduser()).resolve()
    asked = Path(path)
    # A link inside may lead out as well: what counts is where the path ends.
    folder = (home / asked).resolve()
    inside = folder != home and folder.is_relative_to(home)
    if asked.is_absolute() or ".." in asked.parts or path.startswith("~") or not inside:
        raise Refusal(
            f"the path {path[:60]!a} is not a folder inside maps_dir ({home}): give a relative "
            "name, or start the node with maps_anywhere:=true to allow any"
        )
    return folder
