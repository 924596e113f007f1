"""The files in deploy/, each run as far as it goes without its platform.

The init scripts, the steps of the image and the job's command run unchanged on a ``Node``: a root
directory with this machine's files, in which changes are kept in a folder (an overlay). What a
platform provides, such as ``dnf``, is a few lines of shell in it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import mlflow.environment_variables
import pytest
import yaml
from packaging.requirements import Requirement

from integration.standalone_cluster import SHORT_LIVED, SPARK_HOME, Cluster
from support.commands import finished
from support.mlflow_reader import Store
from support.mlflow_server import free_port
from trackmllib.config.unknown_names import unknown_keys, unknown_variables

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PAGE = ROOT / "docs/how-to/deploy.md"
SECONDS = 240.0
# User and group `spark` of Spark's images.
SPARK_ID = 185

# $1 is the folder of the node, $2 the user id, and the rest the command.
MOUNT = """
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/changes,workdir=$1/work" "$1/root"
mount --rbind /dev "$1/root/dev"
mount --rbind /proc "$1/root/proc"
root=$1/root user=$2
shift 2
exec chroot --userspec="$user:$user" --groups="$user" "$root" "$@"
"""

# A program that mentions neither trackmllib nor MLflow.
JOB = """
import json, os
import pyspark
from pyspark.ml.classification import DecisionTreeClassifier
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
rows = spark.range(100, numPartitions=2)
points = rows.selectExpr("id % 9 AS x", "double(id % 9 > id % 7) AS label")
train = VectorAssembler(inputCols=["x"], outputCol="features").transform(points)
tree = DecisionTreeClassifier()
cv = CrossValidator(
    estimator=tree,
    estimatorParamMaps=ParamGridBuilder().addGrid(tree.maxDepth, [1, 3]).build(),
    evaluator=MulticlassClassificationEvaluator(metricName="accuracy"),
    numFolds=2,
)
model = cv.fit(train)
result = {"averages": list(model.avgMetrics), "master": spark.sparkContext.master}
print(json.dumps({**result, "pyspark": pyspark.__file__, "user": os.getuid()}))
spark.stop()
"""


class Node:
    """A root directory with this machine's files, whose changes are kept in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            # All requirements are in the environment of the tests.
            "PIP_NO_INDEX": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            "TRACKMLLIB_REPORT": "false",
        }
        self.changes = folder / "changes"
        for part in (self.changes, folder / "work", folder / "root"):
            part.mkdir(parents=True)
        # Other users may read Python and its packages.
        for used in (Path(sys.prefix), Path(sys.base_prefix)):
            for parent in reversed(used.parents):
                self.path(parent).mkdir(exist_ok=True)
                self.path(parent).chmod(0o755 | parent.stat().st_mode & 0o7777)

    def path(self, path: str | Path) -> Path:
        """Where a path of the node is on this machine, if the node has changed it."""
        return self.changes / str(path).lstrip("/")

    def write(self, path: str, text: str) -> None:
        """Write an executable file, while nothing runs on the node."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def copy(self, source: Path, folder: str) -> str:
        """Copy a file to a folder of the node, and return its path there."""
        self.path(folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(source, self.path(folder))
        return f"{folder}/{source.name}"

    def make_python(self, folder: str) -> None:
        """Create an environment without trackmllib, which finds all other packages and pip."""
        venv.create(self.path(folder), symlinks=True)
        (packages,) = self.path(folder).glob("lib/python*/site-packages")
        # The last of the folder's path files, so that what the environment has comes first. Its
        # editable trackmllib is not found, because Python ignores path files of such folders.
        (packages / "zzz.pth").write_text(f"{sysconfig.get_path('purelib')}\n")

    def run(self, *command: str, user: int = 0, **variables: str) -> str:
        """Run a command that succeeds, and return its output."""
        done = self.finished(*command, user=user, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def finished(
        self, *command: str, user: int = 0, **variables: str
    ) -> subprocess.CompletedProcess:
        """Run a command to its end."""
        mount = ["unshare", "--mount", "sh", "-euc", MOUNT, "sh", str(self.folder), str(user)]
        return finished([*mount, *command], {**self.environ, **variables}, SECONDS)


@pytest.fixture(scope="module")
def make_node(tmp_path_factory):
    """Return a function that creates a node."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can mount an overlay")
    for path in (sys.prefix, sys.base_prefix):
        if os.stat(path).st_dev != os.stat("/").st_dev:
            pytest.skip(f"{path} is on a file system of its own, which an overlay does not show")
    return lambda: Node(tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = finished(build, dict(os.environ), SECONDS, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (file,) = folder.iterdir()
    return file


def databricks(node: Node, wheel: Path) -> tuple[str, list[str], dict[str, str]]:
    node.make_python("/databricks/python")
    package = f"{node.copy(wheel, '/Volumes/main/libraries')}[report]"
    return "/databricks/python/bin/python", [], {"TRACKMLLIB_PACKAGE": package}


def emr(node: Node, wheel: Path) -> tuple[str, list[str], dict[str, str]]:
    node.make_python("/opt/python")
    python = '#!/bin/sh\nexec /opt/python/bin/python "$@"\n'
    node.write(
        "/usr/local/bin/dnf",
        '#!/bin/sh\n[ "$*" = "install -y python3.11 python3.11-pip" ] || exit 1\n'
        f"printf %s {shlex.quote(python)} > /usr/local/bin/python3.11\n"
        "chmod +x /usr/local/bin/python3.11\n",
    )
    node.write("/usr/local/bin/sudo", '#!/bin/sh\nexec "$@"\n')
    bucket = node.copy(wheel, "/bucket")
    node.write("/usr/local/bin/aws", '#!/bin/sh\n[ "$1 $2" = "s3 cp" ] && cp "${3#s3:/}" "$4"\n')
    # The default versions of other packages are those of Spark 3.5.
    return "/usr/local/bin/python3.11", [f"s3:/{bucket}", "numpy"], {}


def dataproc(node: Node, wheel: Path) -> tuple[str, list[str], dict[str, str]]:
    node.make_python("/opt/conda/default")
    bucket = node.copy(wheel, "/bucket")
    node.write(
        "/usr/share/google/get_metadata_value",
        f'#!/bin/sh\n[ "$1" = attributes/TRACKMLLIB_PACKAGE ] && echo gs:/{bucket}\n',
    )
    node.write("/usr/local/bin/gsutil", '#!/bin/sh\n[ "$1" = cp ] && cp "${2#gs:/}" "$3"\n')
    return "/opt/conda/default/bin/python", [], {}


@pytest.mark.parametrize(
    ("script", "prepare"),
    [("databricks/init.sh", databricks), ("emr/bootstrap.sh", emr), ("dataproc/init.sh", dataproc)],
)
def test_init_script_lets_a_variable_switch_recording_on(make_node, wheel, script, prepare):
    node = make_node()
    python, arguments, variables = prepare(node, wheel)
    output = node.run(node.copy(DEPLOY / script, "/scripts"), *arguments, **variables)
    assert "TRACKMLLIB_AUTOLOG=1 now switches recording on." in output
    (check,) = re.findall("^TRACKMLLIB_AUTOLOG=1 python3 .*$", PAGE.read_text(), re.MULTILINE)
    check = check.replace("python3", python)
    done = node.finished("sh", "-c", check)
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert node.run("sh", "-c", check.replace("=1", "=")) == "False\n"


@pytest.fixture(scope="module")
def image(make_node, wheel) -> Node:
    """A node that has what is in Spark's image, after the steps of the Dockerfile."""
    node = make_node()
    node.make_python("/opt/python")
    node.environ["PATH"] = f"/opt/python/bin:{node.environ['PATH']}"
    node.path("/opt/spark/python").mkdir(parents=True)
    node.path("/opt/spark/work-dir").mkdir()
    for name, target in (
        ("bin", SPARK_HOME / "bin"),
        ("jars", SPARK_HOME / "jars"),
        ("python/lib", SPARK_HOME / "python/lib"),
        ("python/pyspark", SPARK_HOME),
    ):
        node.path(f"/opt/spark/{name}").symlink_to(target)
    node.path("/etc").mkdir(exist_ok=True)
    for name, line in (
        ("passwd", f"spark:x:{SPARK_ID}:{SPARK_ID}::/nonexistent:/usr/sbin/nologin"),
        ("group", f"spark:x:{SPARK_ID}:"),
    ):
        node.path(f"/etc/{name}").write_text(f"{Path('/etc', name).read_text()}{line}\n")
    package = f"{node.copy(wheel, '/context')}[report]"
    variables = {"TRACKMLLIB_PACKAGE": package, "SPARK_HOME": "/opt/spark"}
    for command in instructions("RUN"):
        node.run("sh", "-c", re.sub(r"^--mount=\S+\s+", "", command), **variables)
    node.write("/opt/spark/work-dir/job.py", JOB)
    return node


def instructions(name: str) -> list[str]:
    """The arguments of the Dockerfile's instructions of this name."""
    lines = (DEPLOY / "docker/Dockerfile").read_text().replace("\\\n", " ").splitlines()
    return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster that is still starting."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), free_port(), free_port())
    try:
        yield cluster
    finally:
        cluster.stop()


def image_variables(server_uri: str, experiment: str) -> dict[str, str]:
    """The environment of a container of the image, and options for short jobs."""
    (variables,) = instructions("ENV")
    conf = {
        # One executor.
        "spark.cores.max": "1",
        "spark.executor.memory": "512m",
        "spark.executor.extraJavaOptions": SHORT_LIVED,
        "spark.log.level": "ERROR",
        "spark.sql.shuffle.partitions": "2",
    }
    options = shlex.join(f"-D{key}={value}" for key, value in conf.items())
    return {
        **dict(each.split("=", 1) for each in shlex.split(variables)),
        "HOME": "/nonexistent",
        "SPARK_HOME": "/opt/spark",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_SUBMIT_OPTS": f"{os.environ['SPARK_SUBMIT_OPTS']} {options}",
        "MLFLOW_TRACKING_URI": server_uri,
        "MLFLOW_EXPERIMENT_NAME": experiment,
    }


def check_record(output: str, store: Store, master: str) -> None:
    """Check that the job ran as the image's user, and that its search is recorded."""
    (line,) = re.findall(r"^\{.*\}$", output, re.MULTILINE)
    result = json.loads(line)
    assert result["master"] == master
    assert result["user"] == SPARK_ID
    assert result["pyspark"].startswith("/opt/spark/python")
    parent = store.only_parent_run()
    children = store.children(parent)
    assert [run.info.status for run in (parent, *children)] == ["FINISHED"] * 3
    assert [run.data.metrics["avg_accuracy"] for run in children] == result["averages"]


def test_spark_submit_in_image_records_a_search_on_a_cluster(cluster, image, server_uri):
    cluster.wait()
    store = Store(server_uri, "deploy by spark-submit")
    submit = ["/opt/spark/bin/spark-submit", "--master", cluster.uri]
    variables = image_variables(server_uri, store.experiment)
    job = "/opt/spark/work-dir/job.py"
    check_record(image.run(*submit, job, user=SPARK_ID, **variables), store, cluster.uri)
    assert left_in(image, variables["TRACKMLLIB_HOME"]) == []


def left_in(node: Node, home: str) -> list[str]:
    """Names of the files in an outbox, which the user of the image must own."""
    outbox = node.path(home) / "outbox"
    assert outbox.stat().st_uid == SPARK_ID
    assert outbox.stat().st_mode & 0o777 == 0o700
    return [path.name for path in outbox.iterdir()]


def job() -> tuple[dict, dict]:
    """The pod and the container of kubernetes/search.yaml."""
    (spec,) = (document["spec"] for document in kubernetes() if document["kind"] == "Job")
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


def kubernetes() -> list[dict]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes/search.yaml").read_text()))


def test_container_of_job_records_a_search(image, server_uri):
    """Its command, user and variables; the volume has the mode that ``fsGroup`` gives it."""
    pod, container = job()
    (mount,) = container["volumeMounts"]
    volume = image.path(mount["mountPath"])
    shutil.rmtree(volume)
    volume.mkdir()
    os.chown(volume, 0, pod["securityContext"]["fsGroup"])
    volume.chmod(0o2775)
    store = Store(server_uri, "deploy by job")
    given = {"POD_NAME": "search-x7k2p", "POD_IP": "127.0.0.1", "MLFLOW_TRACKING_TOKEN": "t"}
    of_image = image_variables(server_uri, store.experiment)
    variables = dict(of_image)
    for each in container["env"]:
        value = each["value"] if "value" in each else given[each["name"]]
        # Kubernetes replaces references to the variables above.
        variables[each["name"]] = re.sub(r"\$\((\w+)\)", lambda m: variables[m[1]], value)
    variables |= {
        name: of_image[name] for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME")
    }
    submitted = variables["PYSPARK_SUBMIT_ARGS"]
    assert submitted.startswith("--master k8s://")
    variables["PYSPARK_SUBMIT_ARGS"] = re.sub(r"k8s://\S+", "local[2]", submitted)
    user = pod["securityContext"]["runAsUser"]
    output = image.run(*container["command"], user=user, **variables)
    check_record(output, store, "local[2]")
    assert left_in(image, variables["TRACKMLLIB_HOME"]) == []


def test_kubernetes_file_is_consistent():
    found = {(each["kind"], each["metadata"]["name"]): each for each in kubernetes()}
    pod, container = job()
    assert {kind for kind, _ in found} == {
        *("PersistentVolumeClaim", "ServiceAccount", "Role", "RoleBinding", "Job")
    }
    binding = found["RoleBinding", "spark"]
    assert ("Role", binding["roleRef"]["name"]) in found
    (subject,) = binding["subjects"]
    assert ("ServiceAccount", pod["serviceAccountName"]) in found
    assert subject["name"] == pod["serviceAccountName"]
    volumes = {each["name"]: each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"]}
    (mount,) = container["volumeMounts"]
    assert ("PersistentVolumeClaim", volumes[mount["name"]]) in found
    values = {each["name"]: each.get("value", "") for each in container["env"]}
    assert values["TRACKMLLIB_HOME"].startswith(f"{mount['mountPath']}/")
    assert f"container.image={container['image']} " in values["PYSPARK_SUBMIT_ARGS"]
    # The process ends within twice the timeout and four seconds.
    longest = 2 * float(values["TRACKMLLIB_FLUSH_TIMEOUT"]) + 4
    assert longest < pod["terminationGracePeriodSeconds"]
    assert list(unknown_variables(values)) == []
    of_mlflow = (name for name in values if name.startswith("MLFLOW_"))
    assert all(hasattr(mlflow.environment_variables, name) for name in of_mlflow)


def test_fabric_file_lists_the_package():
    (pip,) = yaml.safe_load((DEPLOY / "fabric/environment.yml").read_text())["dependencies"]
    (requirement,) = map(Requirement, pip["pip"])
    assert requirement.name == "trackmllib"


def test_page_names_each_file_and_known_variables():
    page = PAGE.read_text()
    named = set(re.findall(r"\]\(\.\./\.\./(deploy/[\w./-]+)\)", page))
    assert named == {str(path.relative_to(ROOT)) for path in DEPLOY.glob("*/*")}
    blocks = re.findall(r"```(json|console)\n(.*?)```", page, re.DOTALL)
    for kind, text in blocks:
        if kind == "json":
            json.loads(text)
    variables = set(re.findall(r"TRACKMLLIB_\w+", "".join(text for _, text in blocks)))
    assert list(unknown_variables(variables)) == []
    keys = re.findall(r"spark\.trackmllib\.\w+", page)
    assert list(unknown_keys(keys)) == []
