# Install rules, CMake package and pkg-config file: filled by src/api.
