"""Programs that run where gcnet is not installed: ONNX, torch.export and AOTInductor."""

from gcnet.export.program import Exported, ExportError, Port, export

__all__ = ["ExportError", "Exported", "Port", "export"]
