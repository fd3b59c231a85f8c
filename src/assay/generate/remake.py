"""An engine of this machine's models as another process opens it again, perhaps on another machine.

remake = Remake.of("version:3f9a01", engine, store, with_files=False)
remake.open().answer(requests)      # in the other process
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from assay.chat.template import Template
from assay.errors import ConfigError, ModelError
from assay.generate.base import load_merged
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.models.load import load, load_tokenizer
from assay.models.versions import LocalVersion, load_version, version_id
from assay.store.store import Store
from assay.version import VERSION


@dataclass(frozen=True, slots=True)
class Remake:
    """What it takes to open an engine elsewhere.

    Attributes:
        assay: version of Assay.
        model: reference of the base, as any directory of this machine finds it.
        dtype: of the weights.
        version: of the base, that answers; None: the base does.
        files: of the version, by name, for who does not reach its folder.
        identity: of the engine here, by which the other one is known to answer the same.
    """

    assay: str
    model: str
    dtype: str
    version: LocalVersion | None
    files: Mapping[str, bytes] | None
    identity: Mapping[str, str] = field(hash=False)

    @classmethod
    def of(
        cls, model: str, engine: TransformersBatchEngine, store: Store, *, with_files: bool
    ) -> Remake:
        """Of the engine that answers here for a base or a version."""
        dtype, identity = engine.loaded.dtype, engine.identity
        if (id := version_id(model)) is None:
            return cls(VERSION, _anywhere(model), dtype, None, None, identity)
        version = load_version(store, id)
        files = None
        if with_files:
            files = {path.name: path.read_bytes() for path in version.folder.iterdir()}
        base = _anywhere(version.record.base)
        record = version.record.model_copy(update={"base": base})
        version = replace(version, record=record, folder=version.folder.resolve())
        return cls(VERSION, base, dtype, version, files, identity)

    @property
    def key(self) -> tuple[str | None, ...]:
        """What no other engine of one command has: the base's hash is that of its versions, too."""
        return self.model, self.dtype, None if self.version is None else self.version.id

    def open(self) -> TransformersBatchEngine:
        """The same engine in this process.

        Raises:
            ConfigError: another version of Assay is installed here.
            ModelError: the model is not here, or it would not answer the same.
        """
        if self.assay != VERSION:
            raise ConfigError(
                f"a machine of the cluster has Assay {VERSION}, but this one has {self.assay}.",
                fix="Install the same version on all of them.",
            )
        made = self._open()
        mine, theirs = dict(made.identity), dict(self.identity)
        mine["model"] = theirs["model"]  # a folder has another name where it is not reached
        other = sorted(name for name in mine if mine[name] != theirs.get(name))
        if other:
            raise ModelError(
                f"a machine of the cluster would answer otherwise: {', '.join(other)} differ.",
                where=self.model,
                fix="Install the same packages on all machines, and pull the model again.",
            )
        return made

    def _open(self) -> TransformersBatchEngine:
        if self.version is None:
            loaded = load(self.model, dtype=self.dtype)
            return TransformersBatchEngine(loaded, Template.of(loaded.tokenizer), device="cpu")
        tokenizer, _ = load_tokenizer(self.model)
        template = Template.from_dict(tokenizer, self.version.record.template)
        with TemporaryDirectory(prefix="assay-version-") as made:
            version = self.version
            if self.files is not None:
                for name, content in self.files.items():
                    (Path(made) / name).write_bytes(content)
                version = replace(version, folder=Path(made))
            loaded = load_merged(version, template, self.dtype)
        return TransformersBatchEngine(loaded, template, device="cpu")


def _anywhere(ref: str) -> str:
    path = Path(ref)
    return str(path.resolve()) if path.exists() else ref
