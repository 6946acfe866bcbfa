"""Trace files in the browser: a web page, only on this machine, at http://127.0.0.1:8765.

    python app.py
    python app.py --model_folder models/w2v

Without --model_folder, the model of real codecs in pretrained/real-codecs answers. Drop a file, listen to it, and see
its verdict, probabilities and timeline. The page loads nothing from other servers, and the server answers only this
machine. An upload is in a temporary folder while it is traced, and is then removed. --max_megabytes and --max_minutes
limit uploads. Ctrl-C ends the server.
"""

from dataclasses import dataclass, replace

from prediction.settings import TraceConfig
from utils.errors import run
from utils.flags import number, opt, parse_flags


@dataclass(frozen=True)
class AppConfig(TraceConfig):
    """The page."""

    port: int = opt(8765, "port of 127.0.0.1; 0 takes a free one", type=number(int, 0, 65536))
    max_megabytes: int = opt(200, "largest upload", type=number(int, 1))
    max_minutes: float = opt(60, "longest recording", type=number(float, 0.1))


def main(argv=None):
    config = parse_flags(__doc__, argv, AppConfig)
    from prediction.server import make_server
    from prediction.tracer import Tracer

    server = make_server(config)  # first: loading a model for a port that is taken would be in vain
    tracer = Tracer(replace(config, num_workers=0))  # a process that a thread of a server forks may hang
    print(f"http://127.0.0.1:{server.server_port}    (Ctrl-C ends the server)", flush=True)
    server.run_here(tracer)


if __name__ == "__main__":
    run(main)
