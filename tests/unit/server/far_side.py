"""`mk serve` in a thread of the test, and a client of it that may say anything."""

import contextlib
import os
import threading

from mk.errors import FarSideError
from mk.remote_cluster.conversation import Conversation
from mk.remote_cluster.remote_topic import RemoteDirectory
from mk.server.permissions import Permissions
from mk.server.session import Session
from mk.transport.channel import Channel
from mk.transport.connection import Connection


@contextlib.contextmanager
def far_side(directory, *only):
    """Yield a conversation with a session that serves `directory`."""
    down, up = os.pipe(), os.pipe()
    session = Session(Channel(down[0], up[1], peer="the client"), Permissions(only), root=None, default="")

    def serve():
        try:
            with contextlib.suppress(FarSideError):
                session.serve()
        finally:
            os.close(up[1])
            os.close(down[0])

    thread = threading.Thread(target=serve)
    thread.start()
    channel = Channel(up[0], down[1], peer="far")
    channel.receive_banner()
    conversation = Conversation(Connection(channel, str(directory)))
    try:
        yield conversation
    finally:
        os.close(down[1])
        thread.join(30)
        os.close(up[0])


def directory_of(conversation):
    """Open the directory, and return it."""
    fields = conversation.request("open_directory", True)
    return RemoteDirectory(conversation, "far:", *reversed((fields.id(), fields.text(4096))))
