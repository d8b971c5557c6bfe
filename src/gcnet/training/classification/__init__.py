"""Image classification: data, transforms, task, experiment."""
