package ether

import (
	"bytes"
	"encoding/hex"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCapture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins at midnight UTC 2000-01-01
		var sw Switch
		a := plug(t, &sw, 1)
		a.send(t, everybody, address(1), "hello")
		synctest.Wait()
		var b bytes.Buffer
		require.NoError(t, sw.WriteCapture(&b))
		assert.Equal(t, ""+
			"0a0d0d0a"+"1c000000"+"4d3c2b1a"+"01000000"+"ffffffffffffffff"+"1c000000"+
			"01000000"+"14000000"+"01000000"+"00000000"+"14000000"+
			"06000000"+"34000000"+"00000000"+"015d0300"+"00e0373b"+"13000000"+"13000000"+
			"ffffffffffff"+"020000000001"+"88b5"+hex.EncodeToString([]byte("hello"))+"00"+"34000000",
			hex.EncodeToString(b.Bytes()))
	})
}

// What a switch remembers is bounded.
func TestCaptureIsBounded(t *testing.T) {
	var sw Switch
	frame := [][]byte{make([]byte, lengthSize+10_000)}
	for range 2000 {
		sw.capture.add(frame)
	}
	frames, gone := sw.Captured()
	assert.Equal(t, 2000, frames+gone)
	var b bytes.Buffer
	require.NoError(t, sw.WriteCapture(&b))
	assert.Greater(t, b.Len(), maxCaptured*9/10)
	assert.LessOrEqual(t, b.Len(), maxCaptured)
}
