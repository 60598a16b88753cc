"""torch modules. Imported by training, export and the torch back-end only: ONNX Runtime needs none of this.

``hub``, which says where weights lie, is no torch module.
"""
