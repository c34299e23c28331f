# What one does with this project; bare `just` lists it. Without just: `.ci/test` does the set-up and all checks.
# `.ci/setup` brings just itself: .venv-test/bin/just

bin := ".venv-test/bin"

[private]
default:
    @{{ just_executable() }} --list --unsorted

# make .venv-test from the lock (and install missing Debian packages, as root)
setup:
    @.ci/setup

# format, lint, Dockerfile, types
check:
    @.ci/check

# put the code in form, mend what lint can mend
fmt: setup
    {{ bin }}/ruff check --fix --exit-zero --quiet .
    {{ bin }}/ruff format .

# the tests, or some: just test tests/unit -k lanes
test *args: setup
    {{ bin }}/pytest {{ args }}

# the long runs under load
soak *args: setup
    {{ bin }}/pytest -m soak {{ args }}

# measure, and print the table of ratios
bench *args: setup
    @.ci/packages wrk:wrk
    {{ bin }}/python -m tests.benchmarks {{ args }}

# start the server from the checkout: just run --store memory: --port 9000
run *args: setup
    {{ bin }}/jobqueue serve {{ args }}

# build the image `jobqueue` (with an engine of our own where the machine has none)
image tag="jobqueue":
    @eval "$(.ci/docker-engine)" && docker build --pull=false --build-arg REVISION="$(git rev-parse HEAD)" -t {{ tag }} .

# make both lock files anew; `just lock --upgrade` takes the newest versions that pyproject.toml allows
lock *args: setup
    {{ bin }}/uv pip compile -q pyproject.toml {{ lock_form }} --group build -o requirements.lock {{ args }}
    {{ bin }}/uv pip compile -q pyproject.toml {{ lock_form }} --group dev -c requirements.lock -o requirements-dev.lock {{ args }}

lock_form := "--universal --python-version 3.11 --all-extras --generate-hashes --no-header --no-emit-index-url --no-emit-find-links"

# everything CI does
ci:
    @.ci/run

# wheel and source archive in dist/, after all checks
release: ci
    {{ bin }}/uv build --no-build-isolation --python {{ bin }}/python
