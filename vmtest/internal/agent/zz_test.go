package agent_test
import ("net";"os";"os/exec";"testing";"context";"example.org/systemd-vmtest/vmtest/internal/agent";"log/slog")
func TestZZ(t *testing.T){
 os.Remove("/tmp/zz.sock")
 l,err:=net.Listen("unix","/tmp/zz.sock"); if err!=nil{t.Fatal(err)}
 s:=&agent.Server{Log: slog.New(slog.NewTextHandler(os.Stderr,&slog.HandlerOptions{Level:slog.LevelDebug}))}
 go func(){ for { c,err:=l.Accept(); if err!=nil{return}; go func(){ t.Log("served", s.Serve(context.Background(), c)) }() } }()
 out,err:=exec.Command("sh","/tmp/zz.sh").CombinedOutput()
 t.Logf("%v\n%s",err,out)
}
