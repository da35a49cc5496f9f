# shellcheck shell=sh
# Source this in sh or bash, on any runner. It sets CLINDER_PYTHON to the full path of a Python 3.10
# or newer, or ends the step with one annotation. It runs each candidate, because "python3" on
# Windows can be a stub that opens the Microsoft Store, and a shim can point to a version that is gone.

clinder_candidates() { # one per line; the Python of actions/setup-python comes first
  if [ -n "${pythonLocation:-}" ]; then
    printf '%s\n' "$pythonLocation/bin/python3" "$pythonLocation/python.exe"
  fi
  set -f
  IFS=:
  for name in python3 python py python3.14 python3.13 python3.12 python3.11 python3.10; do
    for directory in $PATH; do
      case $directory in
        /*) printf '%s\n' "$directory/$name" ;; # never from the workspace
      esac
    done
  done
}

clinder_find_python() { # the first candidate that works, by its own name
  clinder_candidates | while IFS= read -r candidate; do
    [ -x "$candidate" ] || continue
    executable=$("$candidate" -I -S -c 'import sys
if sys.version_info >= (3, 10): print(sys.executable)' 2>/dev/null </dev/null | tr -d '\r') || continue
    if [ -n "$executable" ]; then
      printf '%s\n' "$executable"
      break
    fi
  done
}

CLINDER_PYTHON=$(clinder_find_python)
if [ -z "$CLINDER_PYTHON" ]; then
  clinder_message="No Python 3.10 or newer was found on this runner. Add actions/setup-python, or install python3, before this step."
  case ${CLINDER_INPUT_FAIL_ON_ERROR:-} in
    [Ff][Aa][Ll][Ss][Ee]) echo "::warning title=clinder::$clinder_message" && exit 0 ;;
  esac
  echo "::error title=clinder::$clinder_message"
  exit 1
fi
export CLINDER_PYTHON
