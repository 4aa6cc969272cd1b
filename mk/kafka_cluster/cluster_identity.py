"""What a Kafka cluster is to a directory that it is replicated with: an id, and how it is reached."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mk.kafka_cluster.client import Client


def cluster_directory_id(client: Client) -> str:
    """Return the cluster's id as that of a directory: 32 hex digits, always the same ones.

    Kafka's is a UUID in base64; of one that is none, as a user may choose it, a digest.
    """
    from binascii import Error, a2b_base64
    from hashlib import blake2b

    found = client.call(client.admin.list_topics, f"{client.location} cannot be asked which cluster it is")
    cluster_id = str(found.cluster_id)
    try:
        data = a2b_base64(cluster_id.replace("-", "+").replace("_", "/") + "==")
    except Error:
        data = b""
    return data.hex() if len(data) == 16 else blake2b(cluster_id.encode(), digest_size=16).hexdigest()
