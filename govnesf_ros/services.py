"""Everything that can be asked of the node.

    services = Services(Access(node, scene_map, answers, ...))

Everything advertised works. A request that cannot be met gets success=false and a sentence.
"""

from govnesf_ros.service_group import Access
from govnesf_ros.services_lookup import LookupServices
from govnesf_ros.services_map import MapServices
from govnesf_ros.services_query import QueryServices


class Services:
    """The node's services and `~/query_text`."""

    def __init__(self, access: Access) -> None:
        self._groups = [kind(access) for kind in (QueryServices, MapServices, LookupServices)]

    def destroy(self) -> None:
        """Take them down."""
        for group in self._groups:
            group.destroy()
