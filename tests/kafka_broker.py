"""A real Kafka broker for tests: one node of Apache Kafka (KRaft) on free ports of the loopback, with every way in that clients use.

Its libraries come from Maven Central (`make .services/kafka/ready`); `make test-services` runs what needs it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from confluent_kafka import IsolationLevel, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)
from s3_servers import free_ports

LIBRARIES = Path(__file__).parents[1] / ".services" / "kafka"
READER, WRITER, PASSWORD = "reader", "writer", "correct-horse-battery"

_NUMBERS = count(1)
_LOGGING = Path(__file__).parent / "services" / "kafka" / "log4j2.properties"
# Our end of its input is closed by whatever ends us. Its process id is written down, so that it can be stopped for a while.
_WHILE_WE_LIVE = ("sh", "-c", 'at=$1; shift; "$@" & echo $! > "$at"; read -r _; kill -9 $!; wait', "sh")
_WAYS = ("plain", "slow", "tls", "sasl", "sasl_tls", "controller", "proxied")  # in the order of ports; nobody listens on the last one
_SMALL = ("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.disable.jmx=true")


class Broker:
    """A broker with the users `reader` and `writer`, who may read, or also write, topics whose names begin with `open`.

    Whoever comes without a name may do everything. Data outlives the process until `close`.
    """

    def __init__(self) -> None:
        assert (LIBRARIES / "ready").exists(), "Kafka's libraries are not here: `make .services/kafka/ready` fetches them"
        self.folder = Path(tempfile.mkdtemp(prefix="ofs-kafka-"))
        self.port = free_ports(len(_WAYS))
        self._process: subprocess.Popen[bytes] | None = None
        self.certificate = self._make_certificate()
        self._properties = self.folder / "server.properties"
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()))
        self._format()
        self.start()
        self._let_in()

    def address(self, way: str = "plain") -> str:
        """Where to come in: `plain`, `tls`, `sasl`, `sasl_tls`, or `slow`, which leads clients through `proxied`."""
        return f"127.0.0.1:{self.port + _WAYS.index(way)}"

    @cached_property
    def admin(self) -> AdminClient:
        """A client that may do everything."""
        return AdminClient({"bootstrap.servers": self.address(), "log_level": 0})

    def new_topic(self, name: str = "t", *, partitions: int = 1, unique: bool = True, **config: Any) -> str:
        """Make a topic, by default one whose name no test has used; `cleanup_policy="compact"` is `cleanup.policy`."""
        topic = f"{name}-{os.getpid()}-{next(_NUMBERS)}" if unique else name
        settings = {key.replace("_", "."): str(value) for key, value in config.items()}
        made = self.admin.create_topics([NewTopic(topic, partitions, 1, config=settings)])
        made[topic].result(30)
        return topic

    def delete_topic(self, topic: str) -> None:
        """Delete a topic, and wait until it is gone."""
        client = self.admin
        client.delete_topics([topic])[topic].result(30)
        while topic in client.list_topics(timeout=10).topics:
            time.sleep(0.05)

    def add_partitions(self, topic: str, total: int) -> None:
        """Give a topic more partitions."""
        self.admin.create_partitions([NewPartitions(topic, total)])[topic].result(30)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Delete what is older than an offset, as retention does."""
        place = TopicPartition(topic, partition, before)
        self.admin.delete_records([place])[place].result(30)

    def begin_at(self, topic: str, starts: Mapping[int, int]) -> None:
        """Let the empty partitions of a topic begin at some offsets, as retention leaves those of an old one.

        A broker that starts takes the name of a log's first segment for the offset at which it begins.
        """
        folders = {partition: self.folder / "data" / f"{topic}-{partition}" for partition in starts}
        while not all((one / "partition.metadata").exists() for one in folders.values()):
            time.sleep(0.05)  # it has promised them, and makes them a little later
        self.kill()
        for partition, folder in folders.items():
            for part in folder.glob(f"{0:020}.*"):
                part.rename(part.with_name(f"{starts[partition]:020}{part.suffix}"))
        self.start()

    def produce(self, topic: str, values: Sequence[bytes | None], *, partition: int = 0, keys: Sequence[bytes | None] | None = None,
                times: Sequence[int] | None = None, **settings: Any) -> None:
        """Write some values, with their times in ms, as an ordinary producer does."""
        producer = self.producer(**settings)
        for at, value in enumerate(values):
            extra = {} if times is None else {"timestamp": times[at]}
            producer.produce(topic, value=value, key=None if keys is None else keys[at], partition=partition, **extra)
            producer.poll(0)
        assert producer.flush(60) == 0

    def producer(self, **settings: Any) -> Producer:
        """A producer; `transactional_id="x"` is `transactional.id`."""
        asked = {key.replace("_", "."): value for key, value in settings.items()}
        return Producer({"bootstrap.servers": self.address(), "linger.ms": 1, "log_level": 0, **asked})

    def transact(self, topic: str, values: Sequence[bytes], *, partition: int = 0, commit: bool = True) -> None:
        """Write some values in one transaction, and commit or abort it: either leaves a marker in the log."""
        producer = self.producer(transactional_id=f"tx-{os.getpid()}-{next(_NUMBERS)}")
        producer.init_transactions(30)
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value=value, partition=partition)
        producer.flush(30)
        producer.commit_transaction(30) if commit else producer.abort_transaction(30)
        while self._end(topic, partition, IsolationLevel.READ_COMMITTED) < self._end(topic, partition, IsolationLevel.READ_UNCOMMITTED):
            time.sleep(0.02)  # the marker is written a little later

    def _end(self, topic: str, partition: int, level: IsolationLevel) -> int:
        place = TopicPartition(topic, partition)
        return self.admin.list_offsets({place: OffsetSpec.latest()}, isolation_level=level)[place].result(30).offset

    # --- its life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start on the same folder and ports, and wait until it answers."""
        with (self.folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen([*_WHILE_WE_LIVE, self.folder / "pid", *_java(*_SMALL), "kafka.Kafka", self._properties],
                                             stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=self.folder)
        client = self.admin
        for _ in range(240):
            with suppress(KafkaException):
                if client.list_topics(timeout=1).brokers:
                    return
            assert self._process.poll() is None, f"the broker did not start: {self._last_words()}"
        raise AssertionError(f"the broker does not answer: {self._last_words()}")

    @property
    def is_alive(self) -> bool:
        """Does its process live?"""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """`kill -9`."""
        assert self._process is not None
        self._process.communicate()

    def pause(self) -> None:
        """Stop it where it is: connections stay open, and nobody answers."""
        os.kill(self._pid(), signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self._pid(), signal.SIGCONT)

    def close(self) -> None:
        """Stop, and remove the data."""
        self.kill()
        shutil.rmtree(self.folder)

    def _pid(self) -> int:
        return int((self.folder / "pid").read_text())

    def _last_words(self) -> str:
        return (self.folder / "broker.log").read_text()[-2000:]

    # --- how it is set up -------------------------------------------------------------------------------------

    def _settings(self) -> Mapping[str, str]:
        named = {"PLAIN": "plain", "SLOW": "slow", "TLS": "tls", "SASL": "sasl", "SASL_TLS": "sasl_tls", "CONTROLLER": "controller"}
        reached = {**named, "SLOW": "proxied"}
        protocols = {"PLAIN": "PLAINTEXT", "SLOW": "PLAINTEXT", "TLS": "SSL", "SASL": "SASL_PLAINTEXT", "SASL_TLS": "SASL_SSL",
                     "CONTROLLER": "PLAINTEXT"}
        module = "org.apache.kafka.common.security"
        users = " ".join(f'user_{one}="{PASSWORD}"' for one in (READER, WRITER))
        sasl = {f"listener.name.{listener}.{name}": value for listener in ("sasl", "sasl_tls") for name, value in {
            "sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN",
            "scram-sha-256.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
            "scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
            "plain.sasl.jaas.config": f"{module}.plain.PlainLoginModule required {users};"}.items()}
        keys = self.folder / "broker.pem"
        tls = {f"listener.name.{listener}.{name}": value for listener in ("tls", "sasl_tls") for name, value in {
            "ssl.keystore.type": "PEM", "ssl.keystore.location": str(keys)}.items()}
        return {
            "process.roles": "broker,controller", "node.id": "1", "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": self.address("controller"), "inter.broker.listener.name": "PLAIN",
            "listeners": ",".join(f"{name}://{self.address(way)}" for name, way in named.items()),
            "advertised.listeners": ",".join(f"{name}://{self.address(way)}" for name, way in reached.items() if name != "CONTROLLER"),
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            **sasl, **tls,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users": "User:ANONYMOUS",
            "log.dirs": str(self.folder / "data"), "offsets.topic.replication.factor": "1", "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1", "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1", "group.initial.rebalance.delay.ms": "0", "auto.create.topics.enable": "false",
            "log.retention.ms": "-1", "log.message.timestamp.before.max.ms": str(1 << 62),
            "log.message.timestamp.after.max.ms": str(1 << 62),  # tests write what lies long ago, and ahead
            "log.flush.start.offset.checkpoint.interval.ms": "200",  # what was deleted stays so after `kill`
            "broker.session.timeout.ms": "1500", "broker.heartbeat.interval.ms": "300",  # it may come back soon
            "log.cleaner.backoff.ms": "100", "log.cleaner.dedupe.buffer.size": "4000000", "log.cleaner.io.buffer.size": "65536",
            "log.initial.task.delay.ms": "500", "log.retention.check.interval.ms": "500", "file.delete.delay.ms": "1000",
            "num.network.threads": "1", "num.io.threads": "2", "background.threads": "2", "num.recovery.threads.per.data.dir": "1",
            "message.max.bytes": "20000000", "socket.request.max.bytes": "40000000"}

    def _make_certificate(self) -> Path:
        """A certificate for 127.0.0.1, signed by itself; beside it the key as the broker reads it."""
        chain, key = self.folder / "certificate.pem", self.folder / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                        "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", chain], check=True, capture_output=True)
        (self.folder / "broker.pem").write_text(key.read_text() + chain.read_text())
        return chain

    def _format(self) -> None:
        users = [f"SCRAM-SHA-{bits}=[name={one},password={PASSWORD}]" for bits in (256, 512) for one in (READER, WRITER)]
        asked = [word for user in users for word in ("--add-scram", user)]
        done = subprocess.run([*_java("-Xmx64m", "-XX:TieredStopAtLevel=1"), "kafka.tools.StorageTool", "format", "--standalone", "-t",
                               "T2ZzLXRlc3QtY2x1c3Rlcg", "-c", self._properties, *asked], check=False, capture_output=True, cwd=self.folder)
        assert done.returncode == 0, done.stderr.decode()[-2000:]

    def _let_in(self) -> None:
        rights = [(READER, AclOperation.READ), (READER, AclOperation.DESCRIBE_CONFIGS), (WRITER, AclOperation.ALL)]
        bindings = [AclBinding(ResourceType.TOPIC, "open", ResourcePatternType.PREFIXED, f"User:{user}", "*", operation,
                               AclPermissionType.ALLOW) for user, operation in rights]
        for done in self.admin.create_acls(bindings).values():
            done.result(30)


def _java(*options: str) -> list[str]:
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else "java"
    return [program, *options, f"-Dlog4j2.configurationFile={_LOGGING}", "-cp", f"{LIBRARIES}/*"]
