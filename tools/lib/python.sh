# The Python part of the tests: a virtual environment with PyTorch and the torch backend. Sourced, not run.

# prepare_python BUILD_DIR: makes .venv and installs bindings/torch into it. Where pip reaches nothing, the tests that
# need it skip with the reason that is left in .venv-missing.
prepare_python() {
  rm -f "$root_dir/.venv-missing"
  [ -d "$root_dir/bindings/torch" ] || return 0
  say "Python packages for the PyTorch backend"
  if ! { [ -x "$root_dir/.venv/bin/pip" ] || python3 -m venv "$root_dir/.venv"; } ||
    ! "$root_dir/.venv/bin/pip" install -q --disable-pip-version-check \
      -r "$root_dir/bindings/torch/requirements.txt" >"$1/pip.log" 2>&1; then
    tail -3 "$1/pip.log" 2>/dev/null || true
    echo "PyTorch could not be installed with pip (log: $1/pip.log)" | tee "$root_dir/.venv-missing"
    return 0
  fi
  RAILCCL_BUILD_DIR="$root_dir/$1" "$root_dir/.venv/bin/pip" install -q --disable-pip-version-check \
    --no-build-isolation "$root_dir/bindings/torch" >>"$1/pip.log" 2>&1 || {
    tail -30 "$1/pip.log" >&2
    fail "the torch backend does not build (log: $1/pip.log)"
  }
}
