#!/bin/sh
# SPDX-License-Identifier: MIT
# clang_sanitized.sh SOURCE_DIR BUILD_DIR CLANGXX CATCH2_DIR GENERATOR
#
# Builds the unit programs, every light header alone, the examples and the ktstr command with the other compiler, all
# warnings as errors, under ASan and UBSan; runs the unit programs, and lists the examples' tests. One build for the two
# questions, because compiling is what costs here.
set -eu
source_dir=$1 build_dir=$2 clangxx=$3 catch2_dir=$4 generator=$5

cmake -S "$source_dir" -B "$build_dir" -G "$generator" -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_COMPILER="$clangxx" \
    -DCatch2_DIR="$catch2_dir" -DKTSTR_BUILD_TESTS=ON -DKTSTR_PROGRAMS_ONLY=ON -DKTSTR_BUILD_EXAMPLES=ON \
    -DKTSTR_BUILD_TOOL=ON -DKTSTR_INSTALL=OFF -DKTSTR_WERROR=ON -DKTSTR_SANITIZE=ON
# Hundreds of lines that say nothing unless it fails, and would hide what does.
if ! cmake --build "$build_dir" --parallel 2 >"$build_dir/build.log" 2>&1; then
    tail -n 200 "$build_dir/build.log"
    exit 1
fi

cd "$build_dir"
ctest --label-regex '^unit$' --no-tests=error --output-on-failure

listed=0
for example in examples/example_*; do
    if [ -f "$example" ] && [ -x "$example" ]; then
        echo "$example --list"
        "$example" --list | grep .
        listed=1
    fi
done
if [ "$listed" = 0 ]; then
    echo "no example was built in $build_dir/examples" >&2
    exit 1
fi
