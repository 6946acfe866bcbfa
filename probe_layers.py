"""Which layers of an SSL front end carry the task? A linear probe of each layer tells it, without training a network.

    python probe_layers.py --train_list clips.csv --group page --SSL_path microsoft/wavlm-large --plot result/layers.png
    python probe_layers.py --data_root st-codecfake --max_clips 200 --json result/layers.json

The front end runs once over the clips; the mean and the standard deviation of each layer over the frames are kept in
--cache_features for the next run. Then a logistic regression of each layer names the classes of clips whose group it
never heard: with --group, the groups of a column of the training list are held out, in five parts at most; otherwise
the development clips are the test. The last line says which layers to give to main_train.py as --ssl_layer.
"""

from dataclasses import dataclass
from pathlib import Path

from config import Config
from models.layer_choice import WEIGHTED, LayerAction
from utils.errors import run
from utils.flags import opt, parse_flags
from utils.settings import DrawnClips, Machine

LISTS = ("train_list", "dev_list", "dev_rows", "label_column", "list_audio", "list_format")
SHOWN = ("data_root", *LISTS, "SSL_path", "ssl_norm", "batch_size", "seed", "cluster", "json", Machine, DrawnClips)


@dataclass(frozen=True)
class ProbeConfig(DrawnClips, Config):
    """Probe."""

    group: str = opt(
        "", "column of the training list whose values are held out, such as speaker; left out: development clips test"
    )
    ssl_layer: int = opt(
        WEIGHTED, "layers that are probed: numbers, or weighted for all", action=LayerAction, nargs="+", metavar="N"
    )
    cache_features: Path = opt(Path("save_feats/layers"), "folder that keeps the pooled states, 0.1 MB a clip")
    plot: Path = opt(None, "also draw F1 against the layer to this .png file", writes="png")


def main(argv=None):
    config = parse_flags(__doc__, argv, ProbeConfig, *SHOWN, "group", "ssl_layer", "cache_features", "plot")
    from engine.cached_features import check_cacheable
    from evaluation.freshness import MEASURED_OF, of_files
    from evaluation.layer_probe import pooled_states, print_probe, probe_layers, read_probe
    from evaluation.tables import write_metrics
    from models.front_end_costs import costs_in_words
    from models.front_ends import configured_front_end
    from reporting.drawing import check_png
    from reporting.layer_plot import write_layer_plot
    from utils.hardware import is_first_process

    check_png(config.plot)
    check_cacheable(config)
    probe = read_probe(config)
    measured_of = of_files(config, {clip.source.rpartition(":")[0] for clip in probe.clips if clip.source})
    if is_first_process():
        print(costs_in_words(configured_front_end(config, outline=True), cached=False))
    layers, states = pooled_states(config, probe.clips)
    if is_first_process():
        metrics = probe_layers(layers, states, probe)
        print_probe(metrics)
        write_metrics(config, metrics | {MEASURED_OF: measured_of})
        if config.plot:
            write_layer_plot(config.plot, metrics)


if __name__ == "__main__":
    run(main)
