"""`python -m tests.kafka`: a real Kafka for trying things out, until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys

from tests.kafka import classes, place
from tests.kafka.broker import PASSWORD, USER, Broker, BrokerError


def main() -> int:
    """Start a cluster, print its addresses, and wait."""
    parser = argparse.ArgumentParser(prog="python -m tests.kafka", description="A real Kafka, until Ctrl-C.")
    parser.add_argument("--nodes", type=int, default=1, help="number of nodes (default 1)")
    parser.add_argument("--fetch", action="store_true", help="only download, and prepare to start fast")
    options = parser.parse_args()
    try:
        where = place.find()
        if options.fetch:
            if isinstance(where, place.Java):
                classes.keep(where)
            print(f"Kafka {place.version()} for the tests: {type(where).__name__}", file=sys.stderr)
            return 0
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with Broker(options.nodes, where=where) as broker:
            print(broker.bootstrap, flush=True)
            if broker.sasl_bootstrap:
                print(f"SASL: {broker.sasl_bootstrap}, user {USER}, password {PASSWORD}", file=sys.stderr)
            print("Ctrl-C stops it and deletes its data.", file=sys.stderr, flush=True)
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except (place.NoKafkaError, BrokerError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
