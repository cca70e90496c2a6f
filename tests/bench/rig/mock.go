package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// Frames with words in each stream; one more tells the reason why it ends.
	wordFrames = 50
	// Calls for a model of this name get a frame each 20 ms, others all at once.
	pacedModel = "mock-paced"
	pace       = 20 * time.Millisecond
)

var (
	wholeAnswer = []byte(`{"id":"chatcmpl-0123456789","object":"chat.completion","created":1700000000,"model":"mock","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat("word ", 40) + `"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":500,"completion_tokens":50,"total_tokens":550}}`)
	wordFrame  = frame(`"choices":[{"index":0,"delta":{"content":"words "},"logprobs":null,"finish_reason":null}]`)
	endFrame   = frame(`"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]`)
	usageFrame = frame(`"choices":[],"usage":{"prompt_tokens":500,"completion_tokens":50,"total_tokens":550}`)
	doneFrame  = []byte("data: [DONE]\n\n")
)

func frame(fields string) []byte {
	return []byte(`data: {"id":"chatcmpl-0123456789","object":"chat.completion.chunk","created":1700000000,"model":"mock-model","system_fingerprint":"fp_0123456789",` + fields + "}\n\n")
}

func serve(address string) error {
	return http.ListenAndServe(address, http.HandlerFunc(answer))
}

func answer(out http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodPost {
		io.WriteString(out, `{"object":"list","data":[{"id":"mock-fast","object":"model"},{"id":"mock-paced","object":"model"}]}`)
		return
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	if !has(body, `"stream":true`) {
		out.Header().Set("Content-Type", "application/json")
		out.Header().Set("Content-Length", fmt.Sprint(len(wholeAnswer)))
		out.Write(wholeAnswer)
		return
	}
	out.Header().Set("Content-Type", "text/event-stream")
	stream(out, has(body, pacedModel), has(body, `"include_usage":true`))
}

// has finds JSON in a body, written with spaces after its colons or without.
func has(body []byte, text string) bool {
	return bytes.Contains(body, []byte(text)) || bytes.Contains(body, []byte(strings.Replace(text, ":", ": ", 1)))
}

func stream(out http.ResponseWriter, paced, usage bool) {
	flusher := out.(http.Flusher)
	next := time.Now()
	write := func(data []byte) bool {
		if paced {
			next = next.Add(pace)
			time.Sleep(time.Until(next))
		}
		_, err := out.Write(data)
		flusher.Flush()
		return err == nil
	}
	for range wordFrames {
		if !write(wordFrame) {
			return
		}
	}
	write(endFrame)
	if usage {
		out.Write(usageFrame)
	}
	out.Write(doneFrame)
}
