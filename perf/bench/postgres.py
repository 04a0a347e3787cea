"""The measuring part of postgres.sh, which see. usage: postgres.py WORK VECTORS"""

import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import time

import numpy as np
import psycopg
from pgvector.psycopg import register_vector

import common
import pg_server
from wrk_load import CONNECTIONS, ROUNDS, SECONDS, check_cached, load

EF_SEARCH = 40
FILTERED_SHARE = 100
SQL = {
    "the same SQL": "select * from alfred_nearest_none_v1('default', (select v from qs where i = :i), "
                    f"null, null, 3, {EF_SEARCH}, 5000);",
    "plain SQL": "select id, content, metadata, embedding <=> (select v from qs where i = :i) as d from "
                 "documents order by embedding <=> (select v from qs where i = :i) limit 3;",
}
COPIED = ("id, document_id, collection, source, title, title_path, chunk, page, content, tokens, embedding, "
          "metadata, lexemes, terms, content_hash, created_at, updated_at")


def bulk_load(server, work):
    """Rows a second of `alfred store copy` and of psql's COPY of the same rows, in turn."""
    environment = common.environment() | {"POSTGRES_DSN": server.dsn}
    rates = {"alfred": [], "psql": []}
    for _ in range(ROUNDS):
        server.psql("drop schema public cascade; create schema public")
        copied = subprocess.run(
            [common.alfred(), "--store", work / "pg-source", "--json", "store", "copy", "embedded", "postgres"],
            check=True, capture_output=True, text=True, env=environment)
        report = json.loads(copied.stdout)
        rates["alfred"].append(report["chunks"] / report["copy_s"])
        file = server.folder / "rows.bin"
        server.psql(f"\\copy (select {COPIED} from documents) to '{file}' with (format binary)")
        # The same columns and indexes but the one for vectors, which is built afterwards in both.
        server.psql("create table rows (like documents including all); "
                    "drop index if exists rows_embedding_idx")
        start = time.monotonic()
        server.psql(f"\\copy rows ({COPIED}) from '{file}' with (format binary)")
        rates["psql"].append(report["chunks"] / (time.monotonic() - start))
        server.psql("drop table rows")
        file.unlink()
    return {name: statistics.median(one) for name, one in rates.items()} | {"index_s": report["settle_s"]}


def load_questions(server, data):
    """The questions' vectors as a table, for pgbench."""
    questions = np.fromfile(data / "questions.f32", dtype="<f4").reshape(-1, 384)
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        register_vector(connection)
        connection.execute("create table qs (i int primary key, v vector(384))")
        with connection.cursor() as cursor:
            cursor.executemany("insert into qs values (%s, %s)", list(enumerate(questions)))
        connection.execute("vacuum analyze")
    return len(questions)


def pgbench(server, work, sql, questions, clients):
    """Transactions a second, and their latency."""
    script = work / "query.sql"
    script.write_text(f"\\set i random(0, {questions - 1})\n{sql}\n")
    run = subprocess.run(
        [pg_server.BIN / "pgbench", "-n", "-M", "prepared", "-f", script, "-c", str(clients), "-j",
         str(min(2, clients)), "-T", str(SECONDS), "-l", "--log-prefix", work / "pgbench-log", server.dsn],
        capture_output=True, text=True, check=True)
    took_us = []
    for log in work.glob("pgbench-log*"):
        took_us += [int(line.split()[2]) for line in log.read_text().splitlines()]
        log.unlink()
    took_us.sort()
    return {"per_s": float(re.search(r"tps = ([0-9.]+)", run.stdout)[1]),
            "p50_ms": took_us[len(took_us) // 2] / 1000, "p99_ms": took_us[len(took_us) * 99 // 100] / 1000,
            "max_ms": took_us[-1] / 1000}


@contextlib.contextmanager
def fastapi(server, data, work):
    """The other service, on the same database: its port and pid."""
    port = common.free_port()
    here = pathlib.Path(__file__).parent / "peers"
    with (work / "fastapi.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "fastapi_service:app", "--port", str(port), "--no-access-log"],
            cwd=here, stdout=log, stderr=log,
            env=common.environment() | {"VECTORS": str(data), "DSN": server.dsn})
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                if common.exchange(connection, "POST", "/v1/query", {"query": "a"})[0] == 200:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                common.fail("the other service does not start", f"see {work}/fastapi.log")
            time.sleep(0.1)
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def daemon_on(server, work, **settings):
    extra = {"POSTGRES_DSN": server.dsn, "ALFRED__STORE__EF_SEARCH": str(EF_SEARCH)}
    extra |= {f"ALFRED__STORE__{name.upper()}": value for name, value in settings.items()}
    return common.Daemon(work / "pg-daemon", work / "pg-alfred.log", extra)


def bodies_of(data, work, top_k):
    file = work / f"pg-bodies-{top_k}.jsonl"
    with file.open("w") as bodies:
        for question in (data / "questions.txt").read_text().splitlines():
            bodies.write(json.dumps({"query": question, "top_k": top_k, "mode": "vector",
                                     "answer": "none"}) + "\n")
    return file


def recall_at_10(daemon, bodies, nearest, extra=None):
    """Share of the ten nearest that came, over all questions."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
    found = returned = 0
    with contextlib.closing(connection), bodies.open() as lines:
        for line, near in zip(lines, nearest):
            status, reply = common.exchange(connection, "POST", "/v1/query", json.loads(line) | (extra or {}))
            if status != 200:
                common.fail(f"{status} {reply}", "see the daemon's log")
            sources = [int(pathlib.PurePath(one["source"]).stem) for one in reply["citations"]]
            returned += len(sources)
            found += len(set(sources) & set(near[:10]))
    return found / (10 * len(nearest)), returned / len(nearest)


def wait_for_index(server, kind):
    deadline = time.monotonic() + 600
    sql = ("select count(*) from pg_index where indisvalid and "
           f"indexrelid = to_regclass('documents_embedding_{kind}')")
    while server.psql(sql) != "1":
        if time.monotonic() > deadline:
            common.fail(f"the index {kind} is not built after 600 s", "see the daemon's log")
        time.sleep(0.2)


def index_bytes(server, kind):
    return int(server.psql(f"select pg_relation_size('documents_embedding_{kind}')"))


def bytes_a_chunk(server):
    """Bytes for each chunk of the table and of each of its indexes."""
    rows = server.psql("select relname, round(pg_relation_size(oid) / (select count(*) from documents)::numeric) "
                       "from pg_class where oid = 'documents'::regclass or oid in (select indexrelid from "
                       "pg_index where indrelid = 'documents'::regclass) order by 2 desc")
    return dict(row.split("|") for row in rows.splitlines())


def throughput(server, work, data, questions):
    """name, connections -> medians of the runs, all servers in turn in each round."""
    runs, recall = {}, {}
    nearest = json.loads((data / "nearest.json").read_text())
    with daemon_on(server, work) as daemon, fastapi(server, data, work) as (port, pid):
        recall["none"] = recall_at_10(daemon, bodies_of(data, work, 10), nearest)[0]
        recall["filtered"] = recall_at_10(daemon, bodies_of(data, work, 10), nearest[:200],
                                          {"filter": {"rare": True}})[1]
        bodies = bodies_of(data, work, 3)
        with bodies.open() as lines:
            check_cached(daemon, json.loads(next(lines)))
        for _ in range(ROUNDS):
            for connections in CONNECTIONS:
                url = f"http://127.0.0.1:{daemon.port}/v1/query"
                runs.setdefault(("alfred", connections), []).append(load(daemon.pid, url, bodies, connections))
                url = f"http://127.0.0.1:{port}/v1/query"
                runs.setdefault(("FastAPI", connections), []).append(load(pid, url, bodies, connections))
                for name, sql in SQL.items():
                    run = pgbench(server, work, sql, questions, connections)
                    runs.setdefault((f"pgbench, {name}", connections), []).append(run)
    medians = {key: {field: statistics.median(run[field] for run in several) for field in several[0]}
               for key, several in runs.items()}
    # Within a round the machine is more alike than from one to another.
    for name in SQL:
        pairs = zip(runs["alfred", 8], runs[f"pgbench, {name}", 8])
        medians[f"pgbench, {name}", 8]["ratios"] = [mine["per_s"] / other["per_s"] for mine, other in pairs]
    return medians, recall


def halves(server, work, data):
    """Recall with halfvec, after its index was built beside."""
    nearest = json.loads((data / "nearest.json").read_text())
    with daemon_on(server, work, quantization="halfvec") as daemon:
        wait_for_index(server, "halfvec")
        time.sleep(2)  # The daemon looks once a second.
        return recall_at_10(daemon, bodies_of(data, work, 10), nearest)[0]


def report(medians, recall, sizes, bulk):
    rows = [(name, count, f"{one['per_s']:.0f}", f"{one['p50_ms']:.2f}", f"{one['p99_ms']:.2f}", f"{one['max_ms']:.0f}")
            for (name, count), one in sorted(medians.items())]
    common.table(("server", "connections", "requests/s", "p50 ms", "p99 ms", "max ms"), rows)
    print()
    common.table(("index", "recall@10", "bytes"), [
        (kind, f"{recall[kind]:.4f}", sizes[kind]) for kind in ("none", "halfvec")])
    print(f"\nbulk load: alfred {bulk['alfred']:.0f} rows/s, psql's COPY {bulk['psql']:.0f} rows/s; "
          f"the index took {bulk['index_s']:.0f} s")
    at = {key: one["per_s"] for key, one in medians.items()}
    for name in SQL:
        ratios = medians[f"pgbench, {name}", 8]["ratios"]
        print(f"8 connections, × pgbench with {name}, by round: " + ", ".join(f"{one:.2f}" for one in ratios))
    targets = [
        ("8 connections, × pgbench with the same SQL",
         statistics.median(medians["pgbench, the same SQL", 8]["ratios"]), ">=", 0.85),
        ("8 connections, × FastAPI", at["alfred", 8] / at["FastAPI", 8], ">=", 1.5)]
    for count in CONNECTIONS:
        targets.append((f"{count} connections, p99 ms", medians["alfred", count]["p99_ms"], "<",
                        round(medians["FastAPI", count]["p99_ms"], 2)))
    targets += [
        ("bulk load, × psql's COPY", bulk["alfred"] / bulk["psql"], ">=", 0.8),
        ("recall@10", recall["none"], ">=", 0.95),
        ("recall@10 lost by halfvec", recall["none"] - recall["halfvec"], "<=", 0.01),
        ("size of halfvec's index, × none", sizes["halfvec"] / sizes["none"], "<=", 0.58),
        ("rows returned of 10 with a filter of 1 %", recall["filtered"], ">=", 10)]
    figures = {f"{name} {count}": one for (name, count), one in medians.items()}
    common.finish("postgres", figures | {"recall_at_10": recall, "index_bytes": sizes, "bulk": bulk}, targets)


def main():
    work, data = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    with pg_server.Server(["shared_buffers=1GB", "max_wal_size=8GB", "max_connections=100"]) as server:
        bulk = bulk_load(server, work)
        server.psql("update documents set metadata = '{\"rare\": true}' "
                    f"where split_part(source, '.', 1)::int % {FILTERED_SHARE} = 0; vacuum analyze documents")
        questions = load_questions(server, data)
        medians, recall = throughput(server, work, data, questions)
        recall["halfvec"] = halves(server, work, data)
        with daemon_on(server, work, quantization="binary"):
            wait_for_index(server, "binary")
        sizes = {kind: index_bytes(server, kind) for kind in ("none", "halfvec")}
        common.table(("of documents", "bytes a chunk"), list(bytes_a_chunk(server).items()))
        print()
    report(medians, recall, sizes, bulk)


if __name__ == "__main__":
    main()
