"""``order_rows`` beside GGR on tables of 2,000 to 100,000 rows, and what a table without repetition costs.

Tables are made here, seeded, in shapes that the paper's data sets have: reviews of products (many rows a product, long
descriptions that depend on it), log lines (few distinct values a field), and people (weak repetition). ``--csv FILE``
adds a table of one's own. Seconds are of the processor, so that a busy machine changes little.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from ggr import ggr_rows, hit_rate

from charter_compiler.passes.table_order import order_rows

Rows = list[dict[str, str]]


def text(rng: random.Random, words: int) -> str:
    letters = "etaoinshrdlu"
    return " ".join("".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(words))


def reviews(count: int, rng: random.Random) -> Rows:
    products = [
        {"product": text(rng, 3), "description": text(rng, 40), "category": rng.choice(["toys", "garden", "office"]),
         "brand": text(rng, 1)} for _ in range(count // 20)
    ]  # fmt: skip
    return [
        {"review_id": str(n), "rating": str(rng.randint(1, 5)), "review": text(rng, 25),
         **rng.choice(products), "verified": rng.choice(["yes", "no"])} for n in range(count)
    ]  # fmt: skip


def logs(count: int, rng: random.Random) -> Rows:
    hosts = [text(rng, 2) for _ in range(30)]
    messages = [text(rng, rng.randint(4, 20)) for _ in range(200)]
    return [
        {"time": str(n), "host": rng.choice(hosts), "level": rng.choices(["info", "warning", "error"], [8, 2, 1])[0],
         "service": rng.choice(["api", "db", "web", "queue", "mail"]),
         "message": messages[min(int(rng.expovariate(0.03)), 199)], "code": str(rng.choice([200, 301, 404, 500]))}
        for n in range(count)
    ]  # fmt: skip


def people(count: int, rng: random.Random) -> Rows:
    cities = [(text(rng, 1), text(rng, 1)) for _ in range(count // 8)]
    jobs = [text(rng, 2) for _ in range(count // 4)]
    found = []
    for _ in range(count):
        city, country = rng.choice(cities)
        found.append({"name": text(rng, 2), "city": city, "country": country, "job": rng.choice(jobs),
                      "note": text(rng, 12), "employer": rng.choice(jobs)})  # fmt: skip
    return found


def unique(count: int, rng: random.Random) -> Rows:
    return [{f"field{c}": f"{n}-{c} {text(rng, 3)}" for c in range(10)} for n in range(count)]


SHAPES: dict[str, Callable[[int, random.Random], Rows]] = {"reviews": reviews, "logs": logs, "people": people}


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(name: str, rows: Rows, row_depth: int, column_depth: int) -> dict[str, object]:
    start = time.process_time()
    ours = order_rows(rows)
    ours_s = time.process_time() - start
    start = time.process_time()
    theirs = ggr_rows(rows, row_depth, column_depth)
    theirs_s = time.process_time() - start
    assert sorted(ours.order) == list(range(len(rows)))
    assert all(dict(sent) == rows[at] for sent, at in zip(ours.rows, ours.order, strict=True))
    as_written = [list(row.items()) for row in rows]
    return {
        "table": name, "rows": len(rows), "fields": len(rows[0]),
        "as_written": round(hit_rate(rows, as_written, True), 4),
        "ours": round(hit_rate(rows, ours.rows, True), 4), "ggr": round(hit_rate(rows, theirs, True), 4),
        "ours_values_only": round(hit_rate(rows, ours.rows, False), 4),
        "ggr_values_only": round(hit_rate(rows, theirs, False), 4),
        "reported": round(ours.hit_rate, 4), "ours_s": round(ours_s, 3), "ggr_s": round(theirs_s, 3),
        "ggr_depths": [row_depth, column_depth],
    }  # fmt: skip


def nothing_to_gain(count: int, rng: random.Random, repetitions: int = 7) -> dict[str, object]:
    rows = unique(count, rng)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    data = buffer.getvalue()
    read = [seconds(lambda: list(csv.DictReader(io.StringIO(data)))) for _ in range(repetitions)]
    shares = []
    for _ in range(repetitions):
        fresh = list(csv.DictReader(io.StringIO(data)))  # strings whose hashes nobody has asked for yet
        shares.append(seconds(lambda table=fresh: order_rows(table)) / statistics.median(read))
    return {"table": "unique", "rows": count, "fields": len(rows[0]), "read_s": round(statistics.median(read), 4),
            "share_of_reading": round(statistics.median(shares), 4)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_000, 20_000, 100_000])
    parser.add_argument("--row-depth", type=int, default=1_000_000, help="of GGR; the default never stops")
    parser.add_argument("--column-depth", type=int, default=1_000_000)
    parser.add_argument("--csv", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    with args.output.open("w", encoding="utf-8") as out:
        for size in args.sizes:
            for name, make in SHAPES.items():
                result = compare(name, make(size, random.Random(size)), args.row_depth, args.column_depth)
                write(out, result)
            write(out, nothing_to_gain(size, random.Random(size)))
        for path in args.csv:
            with path.open(encoding="utf-8", newline="") as file:
                rows = [{k: v or "" for k, v in row.items()} for row in csv.DictReader(file)]
            write(out, compare(path.stem, rows, args.row_depth, args.column_depth))


def write(out: io.TextIOBase, result: dict[str, object]) -> None:
    line = json.dumps(result | {"python": platform.python_version(), "machine": platform.machine()})
    print(line, flush=True)
    out.write(line + "\n")
    out.flush()


if __name__ == "__main__":
    main()
