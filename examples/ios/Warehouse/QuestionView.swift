import SwiftUI
import Warehouse

/// Opens the model once and asks it.
@MainActor
final class Student: ObservableObject {
    @Published var answer = ""
    @Published var isBusy = false
    private var model: Warehouse?

    func ask(_ question: String) async {
        isBusy = true
        answer = ""
        defer { isBusy = false }
        do {
            let model = try await open()
            for try await piece in model.answer([.init(role: "user", content: question)]) {
                answer += piece
            }
        } catch {
            answer = "\(error)"
        }
    }

    func stop() {
        model?.cancel()
    }

    private func open() async throws -> Warehouse {
        if let model { return model }
        guard let folder = Bundle.main.url(forResource: "warehouse", withExtension: "slm") else {
            throw CocoaError(.fileNoSuchFile)
        }
        let caches = FileManager.default.urls(for: .cachesDirectory, in: .userDomainMask).first
        // The first opening hashes every file; not on the main thread.
        let opened = try await Task.detached { try Warehouse(folder: folder, cache: caches) }.value
        model = opened
        return opened
    }
}

struct QuestionView: View {
    @StateObject private var student = Student()
    @State private var question = ""

    var body: some View {
        VStack(alignment: .leading, spacing: 12) {
            TextEditor(text: $question).frame(maxHeight: 160).border(.secondary)
            HStack {
                Button("Ask") { Task { await student.ask(question) } }.disabled(student.isBusy || question.isEmpty)
                Button("Stop") { student.stop() }.disabled(!student.isBusy)
            }
            ScrollView { Text(student.answer).frame(maxWidth: .infinity, alignment: .leading) }
        }
        .padding()
    }
}
