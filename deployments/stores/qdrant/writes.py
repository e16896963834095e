"""Writes of points to a Qdrant collection, as many a call as a server does in time.

Each is ordered with the other writes of its shard. Raises the client's errors.
"""

from collections.abc import Sequence

from qdrant_client import AsyncQdrantClient, models

from deployments.stores.base import Record
from deployments.stores.qdrant.markers import Marker
from deployments.stores.qdrant.points import filter_of, to_point
from deployments.stores.records import check_records, last_wins

# A request of 256 vectors of 4,096 floats stays far below the server's 32 MiB.
_UPSERT_RECORDS = 256
# So few that the server deletes them well within the client's timeout.
_DELETE_POINTS = 1_000


async def write(client: AsyncQdrantClient, marker: Marker, records: Sequence[Record]) -> None:
    """Write records; of several with one id the last wins. A failure may leave some written."""
    check_records(records, marker.dimensions)
    points = [to_point(marker, record) for record in last_wins(records)]
    for start in range(0, len(points), _UPSERT_RECORDS):
        await client.upsert(
            marker.engine_collection,
            points[start : start + _UPSERT_RECORDS],
            wait=True,
            ordering=models.WriteOrdering.STRONG,
        )


async def delete(
    client: AsyncQdrantClient, marker: Marker, ids: Sequence[models.ExtendedPointId]
) -> None:
    await client.delete(
        marker.engine_collection,
        models.PointIdsList(points=list(ids)),
        wait=True,
        ordering=models.WriteOrdering.STRONG,
    )


async def delete_matching(
    client: AsyncQdrantClient, marker: Marker, condition: models.Filter
) -> int:
    """Delete the points that `condition` selects, and return their number. A failure may leave the
    first ones deleted."""
    first, gone = None, 0
    while True:
        points, first = await client.scroll(
            marker.engine_collection,
            condition,
            limit=_DELETE_POINTS,
            offset=first,
            with_payload=False,
        )
        if points:
            await delete(client, marker, [point.id for point in points])
        gone += len(points)
        if first is None:
            return gone


async def delete_all(client: AsyncQdrantClient, marker: Marker) -> None:
    """Have the server delete a collection's points; it answers once that is in its log."""
    await client.delete(
        marker.engine_collection,
        models.FilterSelector(filter=filter_of(marker)),
        wait=False,
        ordering=models.WriteOrdering.STRONG,
    )
