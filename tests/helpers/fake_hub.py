"""A Hugging Face hub on 127.0.0.1, as far as huggingface_hub needs it to create, upload, list and download a model."""

import base64
import hashlib
import json
import os
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_of_a_test"


class Handler(BaseHTTPRequestHandler):
    """`server.models` is {"user/model": {revision: {file: bytes}}}, `server.requests` what was asked."""

    protocol_version = "HTTP/1.1"

    def reply(self, status, body=b"", **headers):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(body), "Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path))
        if self.path.startswith("/api/") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.reply(401, {"error": "no token"})
        if self.path == "/api/repos/create":
            asked = json.loads(content)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.server.models.setdefault(name, {"main": {}})
            return self.reply(200, {"url": f"{self.server.address}/{name}", "name": name})
        if match := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/(preupload|commit)/main", self.path.partition("?")[0]):
            name, step = match.groups()
            if step == "preupload":
                files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(content)["files"]]
                return self.reply(200, {"files": [file | {"shouldIgnore": False} for file in files]})
            for line in content.splitlines():
                row = json.loads(line)
                if row["key"] == "file":
                    self.server.models[name]["main"][row["value"]["path"]] = base64.b64decode(row["value"]["content"])
            return self.reply(
                200, {"commitUrl": f"{self.server.address}/{name}/commit/{'1' * 40}", "commitOid": "1" * 40}
            )
        return self.reply(200, {})

    def do_GET(self):
        self.server.requests.append((self.command, self.path))
        path = self.path.partition("?")[0]
        if match := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)(?:/(?:revision|tree)/([\w.-]+))?", path):
            revision, files = self.find(match[1], match[2] or "main")
            if "/tree/" in path and files is not None:
                rows = [{"path": file, "size": len(content), "oid": digest(content)} for file, content in files.items()]
                return self.reply(200, [{"type": "file", **row} for row in rows])
            if files is not None:
                rows = [{"rfilename": file} for file in files]
                return self.reply(200, {"id": match[1], "sha": digest(revision.encode()), "siblings": rows})
        if match := re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/([\w.-]+)/(.+)", path):
            revision, files = self.find(match[1], match[2])
            content = (files or {}).get(match[3])
            if content is None:
                commit = {"X_Repo_Commit": digest(revision.encode())} if revision else {}
                return self.reply(404, {"error": "no file"}, X_Error_Code="EntryNotFound", **commit)
            headers = {"ETag": f'"{digest(content)}"', "X_Repo_Commit": digest(revision.encode())}
            return self.reply(200, content, **headers)
        return self.reply(404, {"error": "no model"}, X_Error_Code="RepoNotFound")

    def find(self, name, wanted):
        """(revision, its files) of a model, by the name of a revision or its commit; (None, None) without one."""
        revisions = self.server.models.get(name, {})
        named = (revision for revision in revisions if wanted in (revision, digest(revision.encode())))
        revision = next(named, None)
        return revision, revisions.get(revision)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def digest(content):
    """The SHA-1 of bytes, which stands for a commit or a file."""
    return hashlib.sha1(content).hexdigest()


@contextmanager
def fake_hub():
    """A running hub; its `address` is what HF_ENDPOINT must be."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.models, server.requests = {}, []
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def hub_environment(server, home, **more):
    """The environment of a script whose hub is `server` and whose cache is in the folder `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "HF_ENDPOINT": server.address, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", **more}
