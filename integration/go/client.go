// Runs a container through sextantd and prints what happened to it:
//
//	client ADDRESS ROOTFS ID
//
// The stubs are generated from the .proto files (docs/clients.md).
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	pb "sextant/v1"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: client ADDRESS ROOTFS ID")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run(address, rootfs, id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	connection, err := grpc.DialContext(ctx, address, grpc.WithInsecure(), grpc.WithBlock())
	if err != nil {
		return fmt.Errorf("reach sextantd: %w", err)
	}
	defer connection.Close()
	containers := pb.NewContainersClient(connection)

	if _, err := containers.Create(ctx, &pb.CreateRequest{
		Id: id,
		Source: &pb.CreateRequest_Rootfs{Rootfs: &pb.RootfsSource{
			Rootfs:   rootfs,
			Command:  []string{"/bin/probe", "sleep", "1000", "--term-exit", "23"},
			Hostname: "go",
		}},
	}); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if _, err := containers.Start(ctx, &pb.StartRequest{Id: id}); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := follow(ctx, containers, id); err != nil {
		return fmt.Errorf("follow the log: %w", err)
	}
	if err := execute(ctx, connection, id); err != nil {
		return fmt.Errorf("execute: %w", err)
	}
	stopped, err := containers.Stop(ctx, &pb.StopRequest{Id: id})
	if err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	waited, err := containers.Wait(ctx, &pb.WaitRequest{Id: id})
	if err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	fmt.Println("exit:", stopped.Exit.GetCode(), waited.Exit.GetCode())
	if _, err := containers.Delete(ctx, &pb.DeleteRequest{Id: id}); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	_, err = containers.Get(ctx, &pb.GetRequest{Id: id})
	explain(err)
	_, err = containers.Create(ctx, &pb.CreateRequest{
		Source: &pb.CreateRequest_Rootfs{Rootfs: &pb.RootfsSource{Rootfs: "relative"}},
	})
	explain(err)
	return nil
}

// follow prints the first entry of the log; the container writes it once it is ready.
func follow(ctx context.Context, containers pb.ContainersClient, id string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	entries, err := containers.Logs(ctx, &pb.LogsRequest{Id: id, Follow: true})
	if err != nil {
		return err
	}
	entry, err := entries.Recv()
	if err != nil {
		return err
	}
	fmt.Printf("stdout: %s", entry.Data)
	return nil
}

// execute runs one more process, gives it input, and prints what it writes.
func execute(ctx context.Context, connection *grpc.ClientConn, id string) error {
	made, err := pb.NewExecsClient(connection).Create(ctx, &pb.CreateExecRequest{
		Container: id, Command: []string{"/bin/probe", "cat"}, Stdin: true, HoldOutput: true,
	})
	if err != nil {
		return err
	}
	stream, err := pb.NewStdioClient(connection).Attach(ctx)
	if err != nil {
		return err
	}
	for _, message := range []*pb.AttachRequest{
		{What: &pb.AttachRequest_Open{Open: &pb.AttachOpen{Container: id, Exec: made.Exec.Id}}},
		{What: &pb.AttachRequest_Stdin{Stdin: []byte("to the exec\n")}},
		{What: &pb.AttachRequest_CloseStdin{CloseStdin: &pb.CloseStdinRequest{}}},
	} {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	for {
		answer, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch what := answer.What.(type) {
		case *pb.AttachResponse_Output:
			fmt.Printf("exec: %s", what.Output.Data)
		case *pb.AttachResponse_Exit:
			fmt.Println("exec exit:", what.Exit.Exit.GetCode())
		}
	}
}

// explain prints the code of an error, and what its details say.
func explain(err error) {
	refused := status.Convert(err)
	fmt.Println("error:", refused.Code())
	for _, detail := range refused.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Println("reason:", detail.Reason)
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fmt.Printf("mistake: %s: %s\n", violation.Field, violation.Description)
			}
		}
	}
}
