// Greet prints a greeting.
package main

import "fmt"

func main() { fmt.Print("hello") }
