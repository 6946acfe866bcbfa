"""A small corpus in ST-Codecfake's layout with every condition in it, and the fixtures that tests share."""

import os
import shutil
from collections import Counter
from itertools import product

import numpy as np
import pytest
import soundfile
from filelock import FileLock
from helpers import TAXONOMY_CODECS

os.environ.setdefault("HF_HUB_OFFLINE", "1")


TRIED = (
    Counter()
)  # what the tests of interruption and of hostile input have tried, for the table in docs/reliability.md


@pytest.fixture
def tried(request):
    """Counts of what a test survived. Those of all tests, and of all workers, are printed at the end of the run."""
    counts = Counter()
    yield counts
    request.node.user_properties.append(("tried", dict(counts)))


def pytest_runtest_logreport(report):
    if report.when == "teardown":
        for name, counts in report.user_properties:
            if name == "tried":
                TRIED.update(counts)


def pytest_terminal_summary(terminalreporter):
    for what, count in sorted(TRIED.items()):
        terminalreporter.write_line(f"{what}: {count}")


def made_once(tmp_path_factory, name, make):
    """The folder `name` of this test run, which make(folder) fills: once, however many workers share the run."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, whole = base / name, base / f"{name}.whole"
    with FileLock(base / f"{name}.lock"):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder


def tone(label, rng, rate=16_000):
    """Half a second to a second of noise and one tone, whose pitch tells the class."""
    time = np.arange(rng.integers(rate // 2, rate)) / rate
    return 0.2 * np.sin(2 * np.pi * (300 + 250 * label) * time) + 0.02 * rng.standard_normal(len(time))


def write_folder(folder, label, count, rng, suffix=".wav", rate=16_000):
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{folder.name}_{label}_{number}{suffix}" for number in range(count)]
    for name in names:
        soundfile.write(folder / name, tone(label, rng, rate), rate)
    return names


def make_corpus(root):
    """Write the corpus under `root`: 3 training clips a class, 1 or 2 elsewhere, several formats and sample rates."""
    rng = np.random.default_rng(688)
    (root / "label").mkdir(parents=True)

    def labelled(part, label_file, classes, count):
        lines = []
        for label in classes:
            names = write_folder(root / part, label, count, rng, (".wav", ".flac")[label % 2])
            lines += [f"{name} {'fake' if label else 'real'} {label}" for name in names]
        (root / "label" / label_file).write_text("\n".join(lines) + "\n")

    labelled("train", "train.txt", range(7), 3)
    labelled("dev", "dev.txt", range(7), 1)
    labelled("eval_id", "eval_id.txt", range(7), 2)
    labelled("eval_ood", "eval_ood7.txt", [7], 3)
    labelled("eval_ood", "eval_ood8-11.txt", range(8, 12), 1)
    for name in ("C3-1", "C3-2", "C3-3", "C3-4", "C4-1", "C4-2", "C4-3"):
        write_folder(root / "ID_diff_config" / name, int(name[1]), 2, rng)
    write_folder(root / "ID_diff_source/NCSSD-mimi", 1, 2, rng, rate=24_000)
    write_folder(root / "ID_diff_source/NCSSD-snac", 6, 2, rng)
    write_folder(root / "OOD_diff_config/wavtokenizer_small40", 7, 2, rng)
    write_folder(root / "OOD_diff_source/NCSSD_wavtokenizer", 7, 2, rng)
    for name, label in (("moshi", 1), ("mini-omni", 6), ("speechgpt-gen", 2), ("valle", 4)):
        write_folder(root / "ALM" / name, label, 2, rng)
    unseen = root / "ID_unseen_real"
    write_folder(unseen / "NCSSD", 0, 2, rng)
    keys = ("bonafide", "bonafide", "spoof", "spoof")
    names = write_folder(unseen / "19LA/ASVspoof2019_LA_eval/flac", 0, len(keys), rng, ".flac")
    protocol = unseen / "19LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt"
    protocol.parent.mkdir()
    rows = [f"LA_0001 {name[:-5]} - A07 {key}\n" for name, key in zip(names, keys, strict=True)]
    protocol.write_text("".join(rows))
    names = write_folder(unseen / "ITW", 0, len(keys), rng)
    keys = [key.replace("bonafide", "bona-fide") for key in keys]
    rows = [f"{name},A Speaker,{key}\n" for name, key in zip(names, keys, strict=True)]
    (unseen / "ITW/meta.csv").write_text("file,speaker,label\n" + "".join(rows))
    return root


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """The small corpus, made once; tests that damage it copy it first."""
    return made_once(tmp_path_factory, "corpus", lambda folder: make_corpus(folder / "st-codecfake")) / "st-codecfake"


def make_taxonomy_corpus(root):
    """Write under `root` CoRS and CoSG in small: tones whose pitch tells the codec, and lists of them."""
    from data.taxonomy import CODEC_TAXONOMY
    from data.taxonomy_lists import write_lists

    rng = np.random.default_rng(1)

    def write(path, number):
        path.parent.mkdir(parents=True, exist_ok=True)
        time = np.arange(8000) / 16_000
        wave = 0.2 * np.sin(2 * np.pi * (300 + 250 * number) * time) + 0.02 * rng.standard_normal(len(time))
        soundfile.write(path, wave, 16_000)

    for speaker, count in (("p225", 2), ("p226", 1), ("p229", 1), ("p227", 2), ("p228", 2)):
        for number, (kind, codec) in product(range(count), enumerate(("", *TAXONOMY_CODECS))):
            name = f"{speaker}_{number:03}" + f"_{codec}" * bool(codec)
            write(root / "all_data_16k" / f"{name}{('.wav', '.flac')[kind % 2]}", kind)
    rows = [("VALLE", "a", "-", "-", "spoof"), ("VALLE", "b", "-", "-", "bonafide"), ("NS3", "a", "-", "spoof")]
    for kind, (system, name, *_) in enumerate(rows):
        write(root / "SLMdemos_16k" / system / f"{name}.wav", kind)
    (root / "metadata/evaluation").mkdir(parents=True)
    (root / "metadata/evaluation/CoSG_ALL.txt").write_text("".join(" ".join(row) + "\n" for row in rows))
    speakers = {"dev_speakers": ("p226", "p229"), "test_speakers": ("p227", "p228")}
    write_lists(root / "all_data_16k", root / "metadata/training", CODEC_TAXONOMY, **speakers, seed=1234)
    lines = (root / "metadata/training/test_mult_learn.txt").read_text().splitlines()
    cors = [f"{line.split()[0]} {line.split()[1]} - - {line.split()[-1]}\n" for line in lines]
    (root / "metadata/evaluation/CoRS_ALL.txt").write_text("".join(cors))


@pytest.fixture(scope="session")
def taxonomy_corpus(tmp_path_factory):
    """The small corpus of the taxonomy system, made once."""
    name = "codecfake_plus"
    return made_once(tmp_path_factory, "taxonomy", lambda folder: make_taxonomy_corpus(folder / name)) / name


def train_and_trace(corpus, work):
    """Train a mel-LCNN for one epoch on the small corpus and trace every condition, into folders of `work`."""
    import main_train
    import source_tracing_ALM
    import source_tracing_id
    import source_tracing_id_other
    import source_tracing_ood

    flags = ["--data_root", str(corpus), "--num_workers", "0", "--batch_size", "7"]
    main_train.main([*flags, "--model", "mellcnn", "-o", str(work / "model"), "--num_epochs", "1"])
    flags += ["--model_folder", str(work / "model"), "--result", str(work / "result")]
    flags += ["--save_feats", str(work / "save_feats")]
    for script in (source_tracing_id, source_tracing_id_other, source_tracing_ood, source_tracing_ALM):
        script.main(flags)


@pytest.fixture(scope="session")
def trained(corpus, tmp_path_factory):
    """A mel-LCNN after one epoch on the small corpus, and its folders of score files and embeddings."""
    return made_once(tmp_path_factory, "trained", lambda work: train_and_trace(corpus, work))


@pytest.fixture(scope="session")
def calibrated(trained, corpus, tmp_path_factory):
    """A copy of the trained model and its embeddings, calibrated to keep 80 % of the 7 development clips."""
    import calibrate

    def calibrate_copy(folder):
        for part in ("model", "save_feats"):
            shutil.copytree(trained / part, folder / part)
        flags = ["--model_folder", str(folder / "model"), "--save_feats", str(folder / "save_feats")]
        calibrate.main([*flags, "--data_root", str(corpus), "--tpr", "0.8"])

    return made_once(tmp_path_factory, "calibrated", calibrate_copy)


@pytest.fixture(scope="session")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium with its chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()
