"""A provider of embeddings in OpenAI's words, which closes each connection. usage: provider.py PORT"""

import base64
import http.server
import json
import struct
import sys
import zlib

DIMENSIONS = 1536


def embed(text):
    """A vector that texts with common words share parts of."""
    vector = [0.0] * DIMENSIONS
    for word in text.lower().split() or [""]:
        vector[zlib.crc32(word.encode()) % DIMENSIONS] += 1.0
    length = sum(value * value for value in vector) ** 0.5
    return struct.pack(f"<{DIMENSIONS}f", *(value / length for value in vector))


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        data = []
        for index, text in enumerate(texts):
            raw = embed(text)
            is_base64 = asked.get("encoding_format") == "base64"
            vector = base64.b64encode(raw).decode() if is_base64 else list(struct.unpack(f"<{DIMENSIONS}f", raw))
            data.append({"object": "embedding", "index": index, "embedding": vector})
        tokens = sum(len(text.split()) for text in texts)
        body = json.dumps({"object": "list", "data": data, "model": asked["model"],
                           "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
print("ready", flush=True)
server.serve_forever()
