package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Order says what to send, how many at once, and when to stop: after so many calls, or else after so many seconds.
type Order struct {
	Address     string   `json:"address"`
	Tokens      []string `json:"tokens"`
	Model       string   `json:"model"`
	Stream      bool     `json:"stream"`
	Connections int      `json:"connections"`
	Seconds     float64  `json:"seconds"`
	Calls       int64    `json:"calls"`
	PromptBytes int      `json:"promptBytes"`
}

// Result is what came. Times are microseconds.
type Result struct {
	Seconds float64 `json:"seconds"`
	Answers int     `json:"answers"`
	Frames  int     `json:"frames"`
	Broken  int     `json:"broken"`
	Error   string  `json:"error"`
	First   []int64 `json:"first"`
	Gaps    []int64 `json:"gaps"`
}

func obey(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	answers := json.NewEncoder(out)
	for lines.Scan() {
		var order Order
		if err := json.Unmarshal(lines.Bytes(), &order); err != nil {
			return err
		}
		if err := answers.Encode(run(order)); err != nil {
			return err
		}
	}
	return lines.Err()
}

func run(order Order) Result {
	var started atomic.Int64
	begun := time.Now()
	deadline := begun.Add(time.Duration(order.Seconds * float64(time.Second)))
	more := func() bool {
		if order.Calls > 0 {
			return started.Add(1) <= order.Calls
		}
		return time.Now().Before(deadline)
	}
	results := make([]Result, order.Connections)
	var group sync.WaitGroup
	for place := range results {
		group.Add(1)
		go func() {
			defer group.Done()
			if order.Model == pacedModel { // so that not all frames fall into the same millisecond
				time.Sleep(pace * time.Duration(place) / time.Duration(order.Connections))
			}
			one := caller{order: order, request: request(order, order.Tokens[place%len(order.Tokens)]), result: &results[place]}
			for more() {
				one.call()
			}
			one.hangUp()
		}()
	}
	group.Wait()
	return sum(results, time.Since(begun))
}

func sum(results []Result, took time.Duration) Result {
	total := Result{Seconds: took.Seconds(), First: []int64{}, Gaps: []int64{}}
	for _, one := range results {
		total.Answers += one.Answers
		total.Frames += one.Frames
		total.Broken += one.Broken
		total.First = append(total.First, one.First...)
		total.Gaps = append(total.Gaps, one.Gaps...)
		if one.Error != "" {
			total.Error = one.Error
		}
	}
	return total
}

func request(order Order, token string) []byte {
	stream := ""
	if order.Stream {
		stream = `"stream":true,`
	}
	body := fmt.Sprintf(`{"model":"%s",%s"messages":[{"role":"user","content":"%s"}]}`, order.Model, stream, strings.Repeat("a", order.PromptBytes))
	head := fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		order.Address, token, len(body))
	return []byte(head + body)
}

// caller has one connection, which it keeps as long as the other side does.
type caller struct {
	order      Order
	request    []byte
	result     *Result
	connection net.Conn
	reader     *bufio.Reader
}

func (c *caller) call() {
	if err := c.try(); err != nil {
		c.result.Broken++
		c.result.Error = err.Error()
		c.hangUp()
		time.Sleep(time.Millisecond) // a server that is down is not asked a million times
	}
}

func (c *caller) try() error {
	if c.connection == nil {
		connection, err := net.Dial("tcp", c.order.Address)
		if err != nil {
			return err
		}
		c.connection, c.reader = connection, bufio.NewReader(connection)
	}
	sent := time.Now()
	c.connection.SetDeadline(sent.Add(time.Minute))
	if _, err := c.connection.Write(c.request); err != nil {
		return err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		words, _ := io.ReadAll(response.Body)
		return fmt.Errorf("status %d: %.200s", response.StatusCode, words)
	}
	if c.order.Stream {
		err = c.readStream(response.Body, sent)
	} else {
		err = c.readWhole(response.Body, sent)
	}
	if err == nil {
		c.result.Answers++
		if response.Close {
			c.hangUp()
		}
	}
	return err
}

func (c *caller) readWhole(body io.Reader, sent time.Time) error {
	data, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	c.result.First = append(c.result.First, time.Since(sent).Microseconds())
	if !bytes.Contains(data, []byte(`"choices"`)) || !bytes.Contains(data, []byte(`"usage"`)) {
		return fmt.Errorf("no answer: %.200s", data)
	}
	return nil
}

// readStream counts the frames with choices, and wants every one of them and the end.
func (c *caller) readStream(body io.Reader, sent time.Time) error {
	lines := bufio.NewReader(body)
	frames, done, last := 0, false, sent
	for {
		line, err := lines.ReadSlice('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if bytes.HasPrefix(line, []byte("data: [DONE]")) {
			done = true
			continue
		}
		if !bytes.Contains(line, []byte(`"choices":[{`)) {
			continue
		}
		now := time.Now()
		if frames == 0 {
			c.result.First = append(c.result.First, now.Sub(sent).Microseconds())
		} else {
			c.result.Gaps = append(c.result.Gaps, now.Sub(last).Microseconds())
		}
		frames, last = frames+1, now
	}
	c.result.Frames += frames
	if frames != wordFrames+1 || !done {
		return fmt.Errorf("a stream of %d frames, its end said: %v", frames, done)
	}
	return nil
}

func (c *caller) hangUp() {
	if c.connection != nil {
		c.connection.Close()
		c.connection = nil
	}
}
