"""Runs MetaSSL's Slicer module under pytest, without the Slicer application.

Real are: Slicer's MRML scene, nodes, storage and logics (`slicer-core`) and Qt (`PySide6`).
Imitated, each in a file of its own:

- `pythonqt_bridge`: Qt as PythonQt shows it (`label.text` instead of `label.text()`)
- `widgets`: the few ctk and qMRML widgets that the module uses; `ui_files` loads `.ui` files with them
- `application`: `slicer.app`, the slice views' nodes, loading and saving
- `scripted_module`, `parameter_node_wrapper`, `translation`, `packages`, `sample_data`: the Slicer modules of similar
  names
- `module_loading`: what Slicer's module factory does with a scripted module

`minislicer.bootstrap()` sets all of it up. `scene_views` draws pictures of the scene; `interaction` helps tests to
act like a user. Names follow Slicer's camelCase.
"""
