"""Runs MetaSSL's Slicer module under pytest, without the Slicer application.

Real are: Slicer's MRML scene, nodes, storage and logics (`slicer-core`) and Qt (`PySide6`).
Imitated, each in a file of its own:

- `pythonqt_bridge`: Qt as PythonQt shows it (`label.text` instead of `label.text()`)
- `ctk_widgets`, `mrml_widgets`: the few ctk and qMRML widgets that the module uses; `ui_files` loads `.ui` files with
  them
- `application`: `slicer.app`; `views`: layouts and views; `files`: loading and saving
- `scripted_module`, `parameter_node_wrapper`, `translation`, `packages`, `sample_data`: the Slicer modules of similar
  names
- `module_loading`: what Slicer's module factory does with a scripted module; `module_panel` shows it

`minislicer.bootstrap()` sets all of it up. `scene_views` draws pictures of the scene; `interaction` helps tests to
act like a user. Names follow Slicer's camelCase.
"""
