package host

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestReaderEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	r := Reader(ctx, strings.NewReader("text"))
	b := make([]byte, 2)
	n, err := r.Read(b)
	assert.NoError(t, err)
	assert.Equal(t, "te", string(b[:n]))
	why := errors.New("why")
	cancel(why)
	_, err = io.ReadAll(r)
	assert.ErrorIs(t, err, why)
}
