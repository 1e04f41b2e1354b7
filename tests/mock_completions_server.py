"""A mock of a server with OpenAI's `/v1/completions`, echo and log-probabilities: its model prefers the word sure."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers as vLLM does: the first token has no log-probability; the generated token comes last."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, request, self.headers.get("Authorization")))
        pieces = [*re.findall(r"\s*\S+", request["prompt"]), " more"]
        offsets = [sum(map(len, pieces[:i])) for i in range(len(pieces))]
        chosen = [None, *(-0.1 if "sure" in piece else -3.0 for piece in pieces[1:])]
        top = [None]
        for piece, own in zip(pieces[1:], chosen[1:]):
            top.append({piece: own, **{f"other{i}": -2.0 - i for i in range(request["logprobs"] - 1)}})
        logprobs = {"tokens": pieces, "text_offset": offsets, "token_logprobs": chosen, "top_logprobs": top}
        body = json.dumps({"choices": [{"text": "".join(pieces), "logprobs": self.server.edit(logprobs)}]}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        body = b'{"version": "0.11.0"}' if self.path == "/version" else b"no such page"
        self.send_response(200 if self.path == "/version" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class MockCompletionsServer:
    """Runs while it is entered; `requests` are (path, body, authorization)."""

    def __enter__(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.requests, self.server.status, self.server.edit = [], 200, lambda logprobs: logprobs
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.server.shutdown()
        self.server.server_close()
