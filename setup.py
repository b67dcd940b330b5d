"""What is installed, under which names, and with what (tools are set up in pyproject.toml)."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

# The closed list of direct run-time dependencies (S-71). docs/decisions/dependencies.md has the reason of each.
REQUIRED = [
    "apsw>=3.54,<4",
    "bottle>=0.13,<0.14",
    "click>=8.1,<9",
    "croniter>=7,<8",
    "Jinja2>=3.1,<4",
    "msgspec>=0.22,<0.23",
    "PyYAML>=6,<7",
    "sqlite-utils>=4,<5",
    "waitress>=3,<4",
    "websockets>=17,<18",
]

EXTRAS = {
    # For the adapters of other databases. They are not part of this release: the names are taken so that they stay.
    "sql": ["SQLAlchemy>=2,<3", "alembic>=1.13,<2", "psycopg[binary]>=3.2,<4", "pymysql>=1.1,<2"],
    "mongo": ["pymongo>=4.9,<5"],
    "test": [
        "coverage>=7.6,<8",
        "hypothesis>=6.100,<7",
        "import-linter>=2.1,<3",
        "mypy>=1.13,<3",
        "pytest>=8,<10",
        "pytest-timeout>=2.3,<3",
        "ruff>=0.9,<1",
        "selenium>=4.25,<5",
        "types-PyYAML>=6",
    ],
}


def packages_below(directory: str, name: str) -> dict[str, str]:
    """The packages of a directory beside ``appliance`` that are installed inside it: installed name to directory."""
    below = {f"{name}.{one}": f"{directory}/{one.replace('.', '/')}" for one in find_packages(directory)}
    return {name: directory} | below


BESIDE = packages_below("migrations", "appliance.migrations") | packages_below("systemd", "appliance.systemd")

setup(
    name="orchestra-appliance",
    version="0.1.0.dev0",
    description="A single-node job server with remote workers: one process, one port, one SQLite database",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    author="Orchestra Appliance contributors",
    license="MIT",
    python_requires=">=3.11",
    packages=[*find_packages(include=["appliance", "appliance.*"]), *BESIDE],
    package_dir=BESIDE,
    package_data={
        "appliance": ["py.typed", "*.txt", "examples/**/*"],
        "appliance.web": ["templates/**/*", "static/**/*"],
        "appliance.systemd": ["*.service", "*.conf"],
    },
    exclude_package_data={"": ["**/__pycache__/*", "**/*.pyc"]},
    install_requires=REQUIRED,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["orchestra = appliance.__main__:main"]},
    classifiers=[
        "Development Status :: 2 - Pre-Alpha",
        "License :: OSI Approved :: MIT License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
    zip_safe=False,
)
