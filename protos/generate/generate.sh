#!/usr/bin/env bash
# Generates the stubs of one language from the protos:
#
#     generate.sh VENV LANGUAGE
#
# VENV has buf, grpcio-tools, and the protos of google.rpc, whose messages are the details of an error. If a
# program is missing that VENV does not have, this says which packages bring it, and is no failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=$1
language=$2
google_apis=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

# needs PACKAGES PROGRAM...: ends this script if a program is missing.
needs() {
    local packages=$1 program
    shift
    for program in "$@"; do
        if ! command -v "$program" >/dev/null; then
            echo "No stubs for $language: there is no $program. To get it: $packages"
            exit 0
        fi
    done
}

generate() {
    "$venv/bin/buf" generate "$@" --template "protos/generate/$language.yaml"
}

# For languages whose packages of the messages of google.rpc are missing or too old to have ErrorInfo.
generate_error_details() {
    generate "$google_apis" --path "$google_apis/google/rpc/error_details.proto" \
        --path "$google_apis/google/rpc/status.proto"
}

case $language in
    python)
        # Not by buf: the plugin for gRPC is inside this program.
        "$venv/bin/python" -m grpc_tools.protoc -I protos \
            --python_out=client --pyi_out=client --grpc_python_out=client protos/archroute/v1/*.proto
        ;;
    node)
        needs "apt-get install nodejs npm" node npm
        needs "npm ci --prefix client/node" client/node/node_modules/.bin/protoc-gen-es
        generate protos
        generate_error_details
        ;;
    go)
        needs "apt-get install protoc-gen-go protoc-gen-go-grpc" protoc-gen-go protoc-gen-go-grpc
        generate protos
        ;;
    java)
        needs "apt-get install protobuf-compiler protobuf-compiler-grpc-java-plugin" protoc grpc_java_plugin
        generate protos
        generate_error_details
        ;;
    cpp)
        needs "apt-get install protobuf-compiler protobuf-compiler-grpc" protoc grpc_cpp_plugin
        generate protos
        generate_error_details
        ;;
    *)
        echo "unknown language $language" >&2
        exit 2
        ;;
esac
