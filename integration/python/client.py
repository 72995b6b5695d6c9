"""Runs a container through sextantd, with stubs that are generated from the
.proto files at the start: PROTO_DIR ADDRESS ROOTFS ID."""

import pathlib
import queue
import sys
import tempfile

import grpc
from grpc_tools import protoc


def stubs(proto_dir, out):
    """Generates the modules of sextant.v1 into the directory `out` and imports them."""
    include = pathlib.Path(protoc.__file__).parent / "_proto"
    files = [f"sextant/v1/{file.name}" for file in pathlib.Path(proto_dir, "sextant/v1").glob("*.proto")]
    arguments = ["protoc", f"-I{proto_dir}", f"-I{include}", f"--python_out={out}", f"--grpc_python_out={out}"]
    if protoc.main(arguments + files) != 0:
        sys.exit("protoc failed")
    sys.path.insert(0, out)
    from sextant.v1 import exec_pb2, exec_pb2_grpc, sextant_pb2, sextant_pb2_grpc

    return sextant_pb2, sextant_pb2_grpc, exec_pb2, exec_pb2_grpc


def reason(error):
    """The reason in the ErrorInfo of google.rpc.Status, found without its message types."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and b"CONTAINER_NOT_FOUND" in value:
            return "CONTAINER_NOT_FOUND"
    return "no reason"


def execute(channel, execs, execs_rpc, container):
    """Executes one more process, gives it input line by line, and prints what it writes."""
    created = execs_rpc.ExecsStub(channel).Create(
        execs.CreateExecRequest(container=container, command=["/bin/probe", "cat"], stdin=True, hold_output=True)
    )
    said = queue.SimpleQueue()
    said.put(execs.AttachRequest(open=execs.AttachOpen(container=container, exec=created.exec.id)))
    # The second argument of iter() ends the client's stream; nobody puts it there, since the daemon ends it.
    for answer in execs_rpc.StdioStub(channel).Attach(iter(said.get, None)):
        match answer.WhichOneof("what"):
            case "attached":
                said.put(execs.AttachRequest(stdin=b"to the exec\n"))
            case "output":
                print(f"exec: {answer.output.data.decode().strip()}", flush=True)
                said.put(execs.AttachRequest(close_stdin=execs.CloseStdinRequest()))
            case "exit":
                print(f"exec exit: {answer.exit.exit.code}", flush=True)
    said.put(None)


def main(proto_dir, address, rootfs, container):
    with tempfile.TemporaryDirectory(prefix="sextant-stubs-") as out:
        pb, rpc, execs, execs_rpc = stubs(proto_dir, out)
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
        execute(channel, execs, execs_rpc, container)
        stopped = containers.Stop(pb.StopRequest(id=container))
        print(f"exit: {stopped.exit.code}")
        containers.Delete(pb.DeleteRequest(id=container))
        try:
            containers.Get(pb.GetRequest(id=container))
        except grpc.RpcError as error:
            print(f"error: {error.code().name} {reason(error)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
