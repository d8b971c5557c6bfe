"""Checkpoint files in every format, as bytes."""

import io
import pickle
import struct
import tarfile
import zipfile

import safetensors.torch
import torch

WEIGHTS = {
    "conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2),
    "bn.num_batches_tracked": torch.tensor(7),
    "half": torch.linspace(-1, 1, 5).half(),
    "transposed": torch.arange(6.0).reshape(2, 3).t(),
    "empty": torch.empty(0, 4),
}
CONTENT = {"state_dict": WEIGHTS, "epoch": 12, "meta": {"CLASSES": ("cat", "dog"), "mmcv_version": "1.3.8"}}


def torch_zip(content=CONTENT, **options):
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def torch_stream(content=CONTENT):
    return torch_zip(content, _use_new_zipfile_serialization=False)


def safetensors_file(weights=WEIGHTS, metadata=None):
    return safetensors.torch.save({key: value.contiguous() for key, value in weights.items()}, metadata)


class _TarPickler(pickle._Pickler):
    """Tensors by number, as torch 0.1 pickled them."""

    def __init__(self, file, numbers):
        super().__init__(file, 2)
        self.numbers = numbers

    def persistent_id(self, value):
        return self.numbers[id(value)] if isinstance(value, torch.Tensor) else None


def _named_pickle(key, other, class_name):
    """The pickle of ``(key, other, torch.<class_name>)``, written by hand: no such class need exist."""
    other = pickle.dumps(other, 2)[2:-1]
    return b"\x80\x02" + pickle.dumps(key, 2)[2:-1] + other + b"ctorch\n" + class_name.encode() + b"\n\x87."


_TAR_NAMES = {torch.float32: "Float", torch.float16: "Half", torch.int64: "Long"}


def torch_tar(content=CONTENT, weights=WEIGHTS):
    """By the layout of torch 0.1: storages with views, tensors with strides, and a pickle that refers to them."""
    storages, tensors, numbers = io.BytesIO(), io.BytesIO(), {}
    storages.write(pickle.dumps(len(weights), 2))
    tensors.write(pickle.dumps(len(weights), 2))
    for number, tensor in enumerate(weights.values()):
        name, flat = _TAR_NAMES[tensor.dtype], torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
        storages.write(_named_pickle(100 + number, "cpu", f"{name}Storage"))
        storages.write(struct.pack("<q", flat.numel()) + flat.numpy().tobytes())
        tensors.write(_named_pickle(number, 100 + number, f"{name}Tensor"))
        numbered = (*tensor.shape, *tensor.stride(), tensor.storage_offset())
        tensors.write(struct.pack("<ii", tensor.dim(), 0) + struct.pack(f"<{len(numbered)}q", *numbered))
        numbers[id(tensor)] = number
    storages.write(pickle.dumps([], 2))
    pickled = io.BytesIO()
    _TarPickler(pickled, numbers).dump(content)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        system = pickle.dumps({"protocol_version": 1000, "little_endian": True}, 2)
        members = [("sys_info", system), ("pickle", pickled.getvalue())]
        for name, data in [*members, ("storages", storages.getvalue()), ("tensors", tensors.getvalue())]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


FORMATS = {
    "torch zip": torch_zip,
    "torch stream": torch_stream,
    "torch tar": torch_tar,
    "safetensors": safetensors_file,
}


def zip_with_pickle(data, root="archive", compression=zipfile.ZIP_STORED, extra=()):
    """A zip file of torch.save around a pickle of one's own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in [(f"{root}/data.pkl", data), (f"{root}/version", b"3\n"), *extra]:
            archive.writestr(name, content)
    return buffer.getvalue()
