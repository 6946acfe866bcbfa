"""The files that predict.py writes: CSV, JSON, JSON lines and Parquet.

All are written from `results`, which can be iterated several times and gives a Prediction or a Failure for each file,
so that no more than some of them are in memory.
"""

import importlib.util
import json
from itertools import chain, islice
from textwrap import indent

from prediction.output import codec_text
from utils.errors import NOT_UTF8, InputError
from utils.files import check_writable, csv_line, replacing, write_parts

TEXT_FIELDS = ("file", "verdict", "reason", "detector")  # columns of text; those below are numbers
FIELDS = (
    *("file", "verdict", "reason", "seconds", "sample_rate", "windows", "agreement"),
    *("detector", "score", "threshold", "percentile", "p_value"),
)
WHOLE_FIELDS = ("sample_rate", "windows")
ROWS_AT_ONCE = 1000  # of a Parquet file


def table_columns(results):
    """The columns of the table of all results: with those of the classes and of the taxonomy, if a file has them."""
    first = next(filter(None, results), None)
    known = [f"p({name})" for name in first.probabilities] if first else []
    tasks = [f"{task}({name})" for task, classes in first.taxonomy.items() for name in classes] if first else []
    return [*FIELDS, *known, *tasks, "codec", "error"]


def table_row(result):
    """{column: value} of a Prediction or a Failure."""
    if not result:
        return {"file": result.file, "error": result.error}
    row = {name: getattr(result, name) for name in FIELDS}
    row |= {f"p({name})": share for name, share in result.probabilities.items()}
    row |= {f"{task}({name})": share for task, classes in result.taxonomy.items() for name, share in classes.items()}
    return row | {"codec": codec_text(result.codec) if result.codec else ""}


def write_csv(path, results, _):
    """A line for each result, in their order; of a file that could not be used, the last column has the reason."""
    columns = table_columns(results)
    rows = ([row.get(column, "") for column in columns] for row in map(table_row, results))
    write_parts(path, map(csv_line, chain([columns], rows)))


def write_json_lines(path, results, _):
    """A line of JSON for each result, in their order."""
    write_parts(path, (json.dumps(result.to_dict()) + "\n" for result in results))


def write_json(path, results, settings):
    """One object: the dict `settings`, a list "files" of the predictions, and a list "failed" of the failures."""
    write_parts(path, json_parts(results, settings))


def json_parts(results, settings):
    """The text of write_json() in parts."""
    yield json.dumps(settings, indent=2).removesuffix("\n}")
    for name, wanted in (("files", True), ("failed", False)):
        yield f',\n  "{name}": ['
        between = "\n"
        for result in results:
            if bool(result) == wanted:
                yield between + indent(json.dumps(result.to_dict(), indent=2), "    ")
                between = ",\n"
        yield "]" if between == "\n" else "\n  ]"
    yield "\n}\n"


def write_parquet(path, results, _):
    """The columns and rows of write_csv() with their types: text, int64 and float64; what a row lacks is null."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    def kind(column):
        if column in (*TEXT_FIELDS, "codec", "error"):
            return pyarrow.string()
        return pyarrow.int64() if column in WHOLE_FIELDS else pyarrow.float64()

    schema = pyarrow.schema([(column, kind(column)) for column in table_columns(results)])
    rows = map(parquet_row, results)
    with replacing(path) as temporary, ParquetWriter(temporary, schema) as writer:
        while part := list(islice(rows, ROWS_AT_ONCE)):
            writer.write_table(pyarrow.Table.from_pylist(part, schema=schema))


def parquet_row(result):
    """table_row() as Parquet can hold it: in names that are not UTF-8, a byte that does not fit becomes \\xNN."""
    row = table_row(result)
    text = {name: value for name, value in row.items() if isinstance(value, str)}
    return row | {name: value.encode(errors=NOT_UTF8).decode(errors="backslashreplace") for name, value in text.items()}


# {flag: how its file is written, of a path, results, and a dict of settings}
WRITERS = {"csv": write_csv, "jsonl": write_json_lines, "json": write_json, "parquet": write_parquet}


def output_paths(config):
    """{flag: path} of the files that the flags ask for.

    Raises InputError when one of them cannot be written, and for --parquet without pyarrow, which nothing else needs.
    """
    paths = {flag: path for flag in WRITERS if (path := getattr(config, flag))}
    if config.plot:
        check_writable(config.plot)
    if config.parquet and importlib.util.find_spec("pyarrow") is None:
        raise InputError("--parquet needs pyarrow, which is not installed: pip install pyarrow, or use --csv")
    return paths
