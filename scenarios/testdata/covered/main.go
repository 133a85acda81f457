// Command covered ends in the way that its argument names.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	switch end := os.Args[1]; end {
	case "returns":
		returns()
	case "killed":
		killed()
	case "panics":
		panics()
	case "exits":
		exits()
	default:
		neverCalled()
	}
}

func returns() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	fmt.Println("up")
	<-term
}

func killed() {
	fmt.Println("up")
	time.Sleep(time.Hour)
}

func panics() {
	fmt.Println("up")
	panic("on purpose")
}

func exits() {
	fmt.Println("up")
	os.Exit(3)
}

func neverCalled() {
	fmt.Println("up")
}
