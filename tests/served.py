"""A server in a thread of this process, on a free port."""

from contextlib import contextmanager
from threading import Thread

from transferkit.serving import server


@contextmanager
def serving(app):
    """The address of an application."""
    opened = server.open_socket("127.0.0.1", 0)
    running = server.make_server(app)
    opened.listen()
    thread = Thread(target=running.run, args=([opened],))
    thread.start()
    try:
        yield server.find_url(opened)
    finally:
        running.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
