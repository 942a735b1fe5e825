"""Our sweeper and launchers as Hydra plugins: it takes them only from modules of the package `hydra_plugins`."""

import importlib
import sys
from contextlib import suppress
from types import ModuleType

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from lfw_seq import CONF
from lfw_seq.launchers.joblib import JoblibLauncher
from lfw_seq.launchers.ray import RayLauncher
from lfw_seq.search import OptunaSweeper


def register() -> None:
    """Make them known as `hydra_plugins.lfw_seq.<class>`, and our configs of launchers the only ones of their names."""
    with suppress(ModuleNotFoundError):
        importlib.import_module("hydra_plugins")
    package = sys.modules.setdefault("hydra_plugins", ModuleType("hydra_plugins"))
    package.lfw_seq = sys.modules["hydra_plugins.lfw_seq"] = sys.modules[__name__]  # type: ignore[attr-defined]
    for plugin in (OptunaSweeper, JoblibLauncher, RayLauncher):
        plugin.__module__ = "hydra_plugins.lfw_seq"
        Plugins.instance().register(plugin)
    stored = ConfigStore.instance().repo.get("hydra", {}).get("launcher", {})
    for path in (CONF / "hydra" / "launcher").iterdir():
        stored.pop(path.name, None)  # an installed plugin's schema, which Hydra would hold ours against
