"""The names of every topic, service and frame in one place.

Private names (`~/...`) belong to the node `govnesf`; relative ones follow the namespace.
"""

NODE = "govnesf"

# In, as a camera driver names them; each is a parameter of the mapper.
IMAGE = "camera/color/image_raw"
CAMERA_INFO = "camera/color/camera_info"
DEPTH = "camera/depth/image_raw"

# Out.
SEMANTIC_CLOUD = "~/semantic_cloud"
LABELS = "~/labels"
KEYFRAMES = "~/keyframes"
FRUSTA = "~/frusta"
STATUS = "~/status"
DIAGNOSTICS = "/diagnostics"  # of the whole robot (REP 107)
QUERY_CLOUD = "~/query/cloud"
QUERY_MASK = "~/query/mask"
QUERY_LABELS = "~/query/labels"
QUERY_OVERLAY = "~/query/overlay"
QUERY_MARKERS = "~/query/markers"
QUERY_DETECTIONS = "~/query/detections"

# In.
QUERY_TEXT = "~/query_text"
CORRECTED_POSES = "~/corrected_poses"

# Services.
QUERY = "~/query"
SET_VOCABULARY = "~/set_vocabulary"
RESET = "~/reset"
PAUSE = "~/pause"
SEGMENT_CLOUD = "~/segment_cloud"
RENDER_VIEW = "~/render_view"
SAVE_MAP = "~/save_map"
LOAD_MAP = "~/load_map"

# Frames of the player's camera, as REP-103 and camera drivers have them.
CAMERA_LINK = "camera_link"
OPTICAL_FRAME = "camera_color_optical_frame"


def transport_topic(base: str, transport: str) -> str:
    """Return the topic of an image transport: `image` or `image/compressed`."""
    return base if transport == "raw" else f"{base}/{transport}"


def camera_topic(camera: str, topic: str) -> str:
    """Return the topic of one of several cameras; an empty name leaves it as it is.

    Raises:
        ValueError: the topic is absolute, so that all cameras would have the same.
    """
    if camera and topic.startswith(("/", "~")):
        raise ValueError(
            f"topic '{topic}' cannot be that of every camera in the parameter 'cameras': give it "
            "without the leading character, relative to the camera's namespace"
        )
    return f"{camera.rstrip('/')}/{topic}" if camera else topic
