# Stand-in of an installed Slicer, for tests: what the extension's CMake files use of it, with the same checks and the
# same layout. Give -DSlicer_DIR=<this folder> -DSLICER_MINOR_VERSION=5.12.
set(Slicer_FOUND TRUE)
if(NOT SLICER_MINOR_VERSION)
  message(FATAL_ERROR "SLICER_MINOR_VERSION is not set")
endif()
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR "lib/Slicer-${SLICER_MINOR_VERSION}/qt-scripted-modules")
set(Slicer_LAUNCHER_EXECUTABLE "Slicer")
set(Slicer_SHARE_DIR "share/Slicer-${SLICER_MINOR_VERSION}")
set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/GenerateConfig.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/ExtensionCPack.cmake")
