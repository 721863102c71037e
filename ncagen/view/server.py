"""Serves one page on the loopback device, until Ctrl-C, to this machine only.

Another site that is open in the browser must not read the dataset's figures through a host name that it resolves to
this machine (DNS rebinding). So a request whose Host header does not name the loopback device gets status 403.
"""

import sys
from errno import EADDRINUSE
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ncagen.errors import NcagenError

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")


class _Server(ThreadingHTTPServer):
    """A server that prints nothing where a connection ends early: a browser that leaves, or Ctrl-C during an answer.

    Requests read no file, so an OSError is one of the connection.
    """

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def server(page: str, port: int = 0) -> ThreadingHTTPServer:
    """Returns a server of the page that is already listening. page: HTML. port: 0 takes a free one.

    Raises NcagenError for a port that is taken or cannot be used.
    """
    body = page.encode()

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "ncagen", ""

        def do_GET(self):
            if (self.headers.get("Host") or "").rpartition(":")[0] not in NAMES:
                self.send_error(HTTPStatus.FORBIDDEN)
            elif self.path.partition("?")[0] != "/":
                self.send_error(HTTPStatus.NOT_FOUND)
            else:
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format, *args):
            pass

    try:
        return _Server((HOST, port), Handler)
    except OSError as error:
        why = "is taken" if error.errno == EADDRINUSE else f"cannot be used ({error.strerror})"
        raise NcagenError(f"port {port} {why}: use another --port, or leave it out for a free one") from None


def address(serving: ThreadingHTTPServer) -> str:
    """Returns the URL of the page."""
    return f"http://{HOST}:{serving.server_address[1]}/"
