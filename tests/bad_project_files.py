"""Project files with one mistake each: the file, the line that is to blame, and words of the message.

``{}`` in YAML cases is avoided on purpose: what stands here is what stands in the file.
"""

from __future__ import annotations

from typing import NamedTuple


class Bad(NamedTuple):
    """One file. ``line`` 0: no line is to blame. ``subject``: the project, or project/job."""

    name: str
    text: str
    line: int
    words: str
    subject: str = ""
    suffix: str = ".yaml"


PROJECT = "projects:\n- identifier: p\n"
START = PROJECT + "  jobs:\n  - identifier: j\n    definition: {commands: [[make]]}\n"
NIGHTLY = START + "  schedules:\n"


def job(name: str, text: str, words: str, line: int = 6) -> Bad:
    """A job with one more key, in line 6."""
    return Bad(name, f"{START}    {text}\n", line, words, "p/j")


def does(name: str, definition: str, words: str, *more: str) -> Bad:
    """A job with this definition, in line 5."""
    text = f"{PROJECT}  jobs:\n  - identifier: j\n    definition: {definition}\n" + "".join(f"{one}\n" for one in more)
    return Bad(name, text, 5, words, "p/j")


def schedule(name: str, text: str, words: str) -> Bad:
    """One schedule, in line 7."""
    return Bad(name, f"{NIGHTLY}  - {text}\n", 7, words, "p/s")


def python(name: str, text: str, line: int, words: str, subject: str = "") -> Bad:
    """A Python file."""
    return Bad(name, text, line, words, subject, ".py")


def configured(name: str, jobs: str, line: int, words: str, subject: str) -> Bad:
    """A Python file whose project ``p`` has these jobs, from line 3 on."""
    text = f"def configure():\n    return {{'projects': [{{'identifier': 'p', 'jobs': [\n{jobs}\n    ]}}]}}\n"
    return python(name, text, line, words, subject)


FILES = [
    Bad("empty file", "", 0, "must hold a list named 'projects'"),
    Bad("a text", "hello\n", 1, "must hold a list named 'projects'"),
    Bad("projects misspelt", "# ours\nproyects: []\n", 2, "must hold a list named 'projects', not 'proyects'"),
    Bad("projects is no list", "projects: {}\n", 1, "must hold a list named 'projects'"),
    Bad("a key beside projects", "projects: []\nsettings: {}\n", 2, "unknown key 'settings' beside 'projects'"),
    Bad("pools, not yet", "projects: []\npools: {}\n", 2, "'pools' is not supported by this version"),
    Bad("not closed", "projects: [\n", 1, "not YAML"),
    Bad("tabs", "projects:\n\t- identifier: p\n", 2, "not YAML"),
    Bad("wrong indentation", "projects:\n- identifier: p\n   jobs: []\n", 3, "not YAML"),
    Bad("a tag", "projects: !!python/object:os.system []\n", 1, "tags such as"),
    Bad("a key twice", "projects:\n- identifier: p\n  identifier: q\n", 3, "'identifier' stands twice"),
    Bad("a merge key", "projects:\n- &a {identifier: p}\n- {<<: *a}\n", 3, "merge keys are not supported"),
    Bad("two documents", "projects: []\n---\nprojects: []\n", 2, "a second document begins here"),
    Bad("an alias of nothing", "projects: [*nobody]\n", 1, "alias"),
    Bad("a key that is no text", "projects:\n- identifier: p\n  1: x\n", 3, "the key 1 is no text"),
    Bad("nested too deep", f"projects: {'[' * 40}{']' * 40}\n", 1, "nested deeper than 32 levels"),
    Bad("a project that is a word", "projects:\n- website\n", 2, "projects[0] is not a project"),
]
NAMES = [
    Bad("a project without a name", "projects:\n- display_name: Website\n", 2, "'identifier' is missing"),
    Bad("a project with a slash", "projects:\n- identifier: a/b\n", 2, "'a/b' cannot name a project"),
    Bad("a project of a reserved name", "projects:\n- identifier: admin\n", 2, "the word is reserved"),
    Bad("two projects", f"{PROJECT}- identifier: P\n", 3, "there is a project 'p' already", "P"),
    Bad("two jobs", f"{START}  - identifier: J\n    definition: {{}}\n", 6, "there are two jobs 'j'", "p"),
    Bad("a job without a name", f"{PROJECT}  jobs:\n  - definition: {{}}\n", 4, "'identifier' is missing", "p"),
    Bad("a job with a bad name", f"{START}  - identifier: ../etc\n    definition: {{}}\n", 6, "cannot name a job", "p"),
    Bad(
        "two schedules",
        f"{NIGHTLY}  - {{identifier: s, job: j, every: 1h}}\n  - {{identifier: s, job: j, every: 2h}}\n",
        8,
        "there are two schedules 's'",
        "p",
    ),
    Bad("an unknown key of a project", f"{PROJECT}  jobbs: []\n", 3, "did you mean 'jobs'?", "p"),
    Bad("hooks, not yet", f"{PROJECT}  hooks: []\n", 3, "'hooks' is not supported by this version", "p"),
    Bad("jobs that are no list", f"{PROJECT}  jobs: make\n", 3, "must be a list, is a text", "p"),
]
JOBS = [
    Bad("a job without a definition", f"{PROJECT}  jobs:\n  - identifier: j\n", 4, "'definition' is missing", "p/j"),
    job("an unknown key", "timeuot: 1h", "'timeuot' is not a known key; did you mean 'timeout'?"),
    job("a timeout that is none", "timeout: soon", "must be a duration: 90s, 30m, 2h, 1d, 1w"),
    job("a timeout in a number", "timeout: 30", "90s, 30m, 2h, 1d, 1w; write 30s or 30m"),
    job("a timeout without its unit", 'timeout: "30"', "90s, 30m, 2h, 1d, 1w; write 30s or 30m"),
    job("a timeout for ever", "timeout: 9999w", "is longer than ten years"),
    job("a size that is none", "log_limit: 5 apples", "must be a size: 500kB, 64MiB, 10GB"),
    job("yes for true", "is_enabled: yes", "must be true or false, is a text"),
    job("an environment of numbers", "environment: {CI: 1}", "must be a text, is a whole number; put it in quotes"),
    job("a variable of ours", "environment: {ORCHESTRA_URL: x}", "names that begin with ORCHESTRA_"),
    job("a variable with a dash", "environment: {MY-VAR: x}", "must be the name of a variable"),
    job("secrets, not yet", "secrets: [KEY]", "'secrets' is not supported by this version, and the job is not run"),
    job("a requirement that is none", 'requires: {python: ">=="}', "python"),
    job("properties of a controller", "properties: {is_controller: maybe}", "must be true or false"),
    does("a definition that is a word", "make", "must be a map of keys, is a text"),
    does("a type of its own", "{type: script}", "must be one of job, pipeline"),
    does("an unknown key of a definition", "{comands: [[make]]}", "did you mean 'commands'?"),
    does("an unknown key of a command", "{commands: [{run: [make], nmae: x}]}", "did you mean 'name'?"),
    does("a command that is a number", "{commands: [7]}", "must be a text or a map or a list, is a whole number"),
    does("an empty command", "{commands: [[]]}", "must have at least 1 item"),
    does("an unknown format name", "{commands: [['{undefined}']]}", "unknown name 'undefined'"),
    does("an undeclared parameter", "{commands: [['{parameters[brnch]}']]}", "declares no parameter 'brnch'"),
    does("a conversion", "{commands: [['{workspace!r}']]}", "conversion"),
    does("a field that is not closed", "{commands: [['{workspace']]}", "position"),
    does("a field for the shell", "{commands: ['make {parameters[x]}']}", "a text for the shell is never filled in"),
    does("a definition that says nothing", "{}", "there is no command: its runs do nothing and succeed"),
    does("elements of no pipeline", "{elements: [{identifier: e, job: j}]}", "only a pipeline has elements"),
]
PARAMETERS = [
    job("a parameter without a key", "parameters: [{type: int}]", "'key' is missing"),
    job("a parameter of a type of its own", "parameters: [{key: a, type: date}]", "must be one of string, int, bool"),
    job("a parameter twice", "parameters: [{key: a}, {key: a}]", "'a' is declared twice"),
    job("parameters of one variable", "parameters: [{key: a-b}, {key: a_b}]", "share the variable PARAM_A_B"),
    job("a default of another type", "parameters: [{key: a, type: int, default: x}]", "the default"),
    job("a default outside the pattern", 'parameters: [{key: a, pattern: "[a-z]+", default: A1}]', "the default"),
    job("a choice without choices", "parameters: [{key: a, type: choice}]", "a choice needs choices"),
    job("a pattern that is none", 'parameters: [{key: a, pattern: "[a-"}]', "pattern"),
    job("a secret, not yet", "parameters: [{key: a, type: secret}]", "secret parameters are not supported"),
]
SCHEDULES = [
    schedule("a schedule of no job", "{identifier: s, job: i, every: 1h}", "there is no job 'i' in this project"),
    schedule("a schedule that says no time", "{identifier: s, job: j}", "exactly one of expression, every and at"),
    schedule("two times", "{identifier: s, job: j, every: 1h, at: noon}", "exactly one of expression, every and at"),
    schedule("a parameter of no job", "{identifier: s, job: j, every: 1h, parameters: {x: 1}}", "x"),
    schedule("a key of no schedule", "{identifier: s, job: j, every: 1h, cron: x}", "'cron' is not a known key"),
    schedule("an overlap of its own", "{identifier: s, job: j, every: 1h, overlap: kill}", "one of skip, queue, allow"),
]
_ELEMENTS = "{type: pipeline, elements: ["
PIPELINES = [
    does("a pipeline of no job", f"{_ELEMENTS}{{identifier: e, job: x}}]}}", "there is no job 'x'"),
    does("a pipeline of no project", f"{_ELEMENTS}{{identifier: e, job: x, project: q}}]}}", "there is no project 'q'"),
    does("of another project's no job", f"{_ELEMENTS}{{identifier: e, job: x, project: p}}]}}", "in project 'p'"),
    does("a pipeline that starts itself", f"{_ELEMENTS}{{identifier: e, job: j}}]}}", "without end: p/j starts p/j"),
    does(
        "elements that wait for each other",
        f"{_ELEMENTS}{{identifier: a, job: k, after: [{{element: b}}]}}, "
        "{identifier: b, job: k, after: [{element: a}]}]}",
        "wait for each other: a after b after a",
        "  - {identifier: k, definition: {commands: [[make]]}}",
    ),
    does(
        "after no element",
        f"{_ELEMENTS}{{identifier: a, job: k, after: [{{element: z}}]}}]}}",
        "there is no element 'z'",
        "  - {identifier: k, definition: {commands: [[make]]}}",
    ),
]
PYTHON = [
    python("no Python", "def configure(:\n", 1, "not Python"),
    python("no configure()", "x = 1\n", 0, "has no function configure()"),
    python("configure() fails", "def configure():\n    x = 1\n    return x / 0\n", 3, "ZeroDivisionError"),
    python("the import fails", "import nothing_of_this_name\n", 1, "ModuleNotFoundError"),
    python("it ends the program", "import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
    python("configure() answers nothing", "def configure():\n    return None\n", 0, "must hold a list"),
    python("configure() wants arguments", "def configure(x):\n    return x\n", 0, "TypeError"),
    configured(
        "a date",
        "{'identifier': 'j', 'definition': {'commands': []}, 'description': __import__('datetime').date.today()}",
        3,
        "description",
        "p/j",
    ),
    configured(
        "not a number",
        "{'identifier': 'j', 'definition': {'commands': []}, 'properties': {'x': float('nan')}}",
        3,
        "properties",
        "p/j",
    ),
    configured("a set of commands", "{'identifier': 'j', 'definition': {'commands': {'make'}}}", 3, "commands", "p/j"),
    configured(
        "an unknown key in Python",
        "\n{'identifier': 'j', 'definition': {'commands': []}, 'timeot': '1h'}",
        4,
        "did you mean 'timeout'?",
        "p/j",
    ),
    configured(
        "two jobs in Python",
        "{'identifier': 'j', 'definition': {'commands': []}},\n{'identifier': 'j', 'definition': {'commands': []}}",
        3,
        "there are two jobs 'j'",
        "p",
    ),
]

BAD: list[Bad] = [*FILES, *NAMES, *JOBS, *PARAMETERS, *SCHEDULES, *PIPELINES, *PYTHON]
EXPECTED_BESIDE = ("schedules do not fire in this version", "pipeline jobs cannot run in this version")
"""What this version says of every schedule and pipeline; it is no mistake of the file."""
