"""Whether an import keeps the machine at the embedder's own speed: `make bench-import`, JSON lines.

    python -m bench.ingest [--documents FOLDER] [--rounds 3]

The passages of a folder are embedded in turn in two ways: bare, in a process that does nothing else, as many at once as
there are processors; and by importing the files into a fresh mesh through its public address, until the last is stored.
Both run the same model in like sessions. Each import stands beside the mean of the bare runs before and after it, since
a shared machine gets faster and slower by a third within minutes. `ratio` is the import's rate by the bare one's;
`cpu_ratio` the same by processor time, all processes and the client included, without what the mesh takes at rest:
beside other work an import lasts longer, and that grows with it. Read `ratio` on an idle machine, else `cpu_ratio`. The
last line has the medians; it ends with 1 where neither reaches 0.9.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from answermesh.cli.importing import collect
from answermesh.client import Client
from answermesh.config import Settings
from answermesh.knowledge.reading import read
from answermesh.knowledge.storing import indexed_text
from answermesh.models import fetch
from answermesh.models.encoder import Embedder, processors
from answermesh.models.manifest import EMBEDDER, TOKENIZER
from bench.mesh import cpu_by_name, running_mesh

_TARGET = 0.9
# How long a mesh is watched at rest; services still settle in their first seconds.
_WATCHED_S = 10.0
_SETTLED_S = 5.0


def main() -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, default=Path("examples/documents"))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    files, _ = collect((options.documents,))
    paths = fetch.ensure(Settings().cache_dir, (EMBEDDER, TOKENIZER), lambda package, done, total: None)
    embedder = Embedder(paths[EMBEDDER], paths[TOKENIZER])
    texts = list(_texts(files))
    _bare(embedder, texts[:8])
    lines = []
    bare = _bare(embedder, texts)
    for _ in range(options.rounds):
        before = bare
        whole = asyncio.run(_imported(options.documents, files, len(texts)))
        bare = _bare(embedder, texts)
        ratio, cpu_ratio = (2 * whole[rate] / (before[rate] + bare[rate]) for rate in ("per_s", "per_cpu_s"))
        lines.append(
            {"bare": [before, bare], "import": whole, "ratio": round(ratio, 3), "cpu_ratio": round(cpu_ratio, 3)}
        )
        print(json.dumps(lines[-1]), flush=True)
    medians = {name: statistics.median(line[name] for line in lines) for name in ("ratio", "cpu_ratio")}
    print(json.dumps({"files": len(files), "passages": len(texts), **medians}))
    return 0 if max(medians.values()) >= _TARGET else 1


def _texts(files: Sequence[Path]) -> Iterator[str]:
    """What the import embeds of these files."""
    for path in files:
        found = read(path.read_bytes(), path.name)
        title = found.title or PurePosixPath(path).name
        for passage in found.passages:
            yield indexed_text(title, passage.headings, found.text[passage.start : passage.end])


def _bare(embedder: Embedder, texts: Sequence[str]) -> dict[str, float]:
    began_s, used_s = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(processors()) as threads:
        list(threads.map(embedder.run, embedder.rows(texts)))
    return _rates(len(texts), time.perf_counter() - began_s, time.process_time() - used_s)


async def _imported(folder: Path, files: Sequence[Path], passages: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="ingest-") as name:
        async with running_mesh(Path(name)) as running, Client(running.grpc) as mesh:
            resting = await _resting(running.pid)
            before, own_s, began_s = cpu_by_name(running.pid), time.process_time(), time.perf_counter()
            stored = 0
            async for response in mesh.import_paths(files, base=folder):
                assert not response.error.message, response
                stored += response.document.passage_count if response.document.name else 0
            took_s = time.perf_counter() - began_s
            used = Counter(cpu_by_name(running.pid))
            used.subtract(before)
            used["client"] = time.process_time() - own_s  # type: ignore[assignment]  # Counter says int, and counts any number
            assert stored == passages, (stored, passages)
    used["resting"] = -resting * took_s  # type: ignore[assignment]
    shares = {name: round(one, 2) for name, one in used.most_common() if abs(one) > 0.005}
    return {**_rates(passages, took_s, sum(used.values())), "cpu_s": shares}


async def _resting(pid: int) -> float:
    """Processor seconds that a mesh takes in a second in which nothing happens."""
    await asyncio.sleep(_SETTLED_S)
    before_s = sum(cpu_by_name(pid).values())
    await asyncio.sleep(_WATCHED_S)
    return (sum(cpu_by_name(pid).values()) - before_s) / _WATCHED_S


def _rates(passages: int, took_s: float, used_s: float) -> dict[str, float]:
    return {"per_s": round(passages / took_s, 2), "per_cpu_s": round(passages / used_s, 2)}


if __name__ == "__main__":
    raise SystemExit(main())
