"""Runs a container through sextantd, with stubs that are generated from the
.proto files at the start: PROTO_DIR ADDRESS ROOTFS ID."""

import pathlib
import sys
import tempfile

import grpc
from grpc_tools import protoc


def stubs(proto_dir, out):
    """Generates the modules of sextant.v1 into the directory `out` and imports them."""
    include = pathlib.Path(protoc.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{proto_dir}", f"-I{include}", f"--python_out={out}", f"--grpc_python_out={out}"]
    if protoc.main(arguments + ["sextant/v1/sextant.proto"]) != 0:
        sys.exit("protoc failed")
    sys.path.insert(0, out)
    from sextant.v1 import sextant_pb2, sextant_pb2_grpc

    return sextant_pb2, sextant_pb2_grpc


def reason(error):
    """The reason in the ErrorInfo of google.rpc.Status, found without its message types."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and b"CONTAINER_NOT_FOUND" in value:
            return "CONTAINER_NOT_FOUND"
    return "no reason"


def main(proto_dir, address, rootfs, container):
    with tempfile.TemporaryDirectory(prefix="sextant-stubs-") as out:
        pb, rpc = stubs(proto_dir, out)
    # grpc-core would send the escaped path of the socket, which is no valid host name.
    with grpc.insecure_channel(address, options=[("grpc.default_authority", "localhost")]) as channel:
        containers = rpc.ContainersStub(channel)
        source = pb.RootfsSource(
            rootfs=rootfs, command=["/bin/probe", "sleep", "1000", "--term-exit", "23"], hostname="python"
        )
        containers.Create(pb.CreateRequest(id=container, rootfs=source))
        containers.Start(pb.StartRequest(id=container))
        for entry in containers.Logs(pb.LogsRequest(id=container, follow=True)):
            print(f"stdout: {entry.data.decode().strip()}", flush=True)
            break
        stopped = containers.Stop(pb.StopRequest(id=container))
        print(f"exit: {stopped.exit.code}")
        containers.Delete(pb.DeleteRequest(id=container))
        try:
            containers.Get(pb.GetRequest(id=container))
        except grpc.RpcError as error:
            print(f"error: {error.code().name} {reason(error)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
